/** After the last fault: everything that was asked gets its answer, and everything that was acknowledged its end. */
import { setTimeout as pause } from 'node:timers/promises';
import { isOver, isState, type State } from '../../src/job/states.ts';
import { createRandom } from '../helpers/random.ts';
import { submit } from './callers.ts';
import { type Client, createClient } from './client.ts';
import type { Entry, HostRecord } from './ledger.ts';
import type { World } from './world.ts';

export interface JobEvent {
  version: number;
  state: State;
  at: string | null;
  why: string;
}

/** All that is known of one job at the end. */
export interface Ended {
  entry: Entry;
  id: string;
  /** As the API shows it; null where it knows none. */
  job: (Record<string, unknown> & { state: State; version: number }) | null;
  events: JobEvent[];
  /** What `/logs` gave of stdout where it matters. */
  stdout: Buffer | null;
  ran: HostRecord;
}

const AT_ONCE = 8;

/** @param limit is aborted when jobs have had time enough to end, all together */
export async function settle(world: World, seed: number, limit: AbortSignal): Promise<Ended[]> {
  const { ledger } = world;
  const client = createClient({ ...world.gateway, ledger, random: createRandom(seed, 'settling') });
  const random = createRandom(seed, 'second tries');
  // Once more with its key: what was accepted without an answer is found, what was not is accepted now.
  await eachOf(ledger.entries, (entry) => submit(world, client, entry, random, limit));
  let open = ledger.acknowledged();
  while (open.length > 0 && !limit.aborted) {
    const states = await mapOf(open, (entry) => client.once('GET', `/v1/jobs/${entry.id}`));
    open = open.filter((_, i) => {
      const state = states[i]?.body.state;
      return !(states[i]?.status === 200 && isState(String(state)) && isOver(state as State));
    });
    await pause(500);
  }
  // Ends that were told to nobody yet are on their way.
  const told = () => ledger.acknowledged().every(({ id }) => ledger.tellings.get(id ?? '')?.some(byWebhook));
  while (!told() && !limit.aborted) await pause(200);
  return mapOf(ledger.acknowledged(), (entry) => readEnded(client, entry, ledger.hostRecord));
}

const byWebhook = (telling: { by: string; state: string }) =>
  telling.by === 'webhook' && isState(telling.state) && isOver(telling.state);

async function readEnded(
  client: Client,
  entry: Entry,
  hostRecord: (key: string) => HostRecord,
): Promise<Ended> {
  const id = entry.id as string;
  const soon = AbortSignal.timeout(30_000);
  const job = await client.surely('GET', `/v1/jobs/${id}`, {}, soon);
  const events = await client.surely('GET', `/v1/jobs/${id}/events`, {}, soon);
  const matters = (entry.order.truth.stdout?.bytes ?? 0) > 0;
  return {
    ...{ entry, id },
    job: job?.status === 200 ? (job.body as Ended['job']) : null,
    events: (events?.body.items ?? []) as JobEvent[],
    stdout: matters ? await readLog(client, id, soon) : null,
    ran: hostRecord(entry.key),
  };
}

async function readLog(client: Client, id: string, stop: AbortSignal): Promise<Buffer | null> {
  const parts: Buffer[] = [];
  for (let offset = 0; ; ) {
    const path = `/v1/jobs/${id}/logs?stream=stdout&offset=${offset}&limit=1000000`;
    const reply = await client.surely('GET', path, {}, stop);
    if (reply?.status !== 200) return null;
    parts.push(reply.bytes);
    const next = Number(reply.headers.get('x-log-next'));
    if (reply.headers.get('x-log-complete') === 'true' || next <= offset) return Buffer.concat(parts);
    offset = next;
  }
}

export async function eachOf<T>(list: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  await mapOf(list, work);
}

/** Some at once, in order. */
export async function mapOf<T, R>(list: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const take = async () => {
    while (next < list.length) {
      const i = next++;
      results[i] = await work(list[i] as T);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, take));
  return results;
}
