/**
 * The callers of a world: each submits one job after the other with an idempotency key, repeats what was not answered,
 * sometimes waits for the end, reads, or cancels. What they are told goes into the ledger, and is held against what
 * they had been told before.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { createRandom, type Random } from '../helpers/random.ts';
import { type Client, createClient } from './client.ts';
import type { RigHost } from './hosts.ts';
import type { Entry, Ledger } from './ledger.ts';
import { makeOrder } from './orders.ts';

export interface CallersDeps {
  seed: number;
  urls: string[];
  apiKey: string;
  hosts: readonly RigHost[];
  callbackUrl: string;
  ledger: Ledger;
  /** All together, in jobs a second, where nothing holds them up. */
  perSecond: number;
  /** So many jobs at most may be acknowledged and not known to be over. */
  isCrowded: () => boolean;
}

const CALLERS = 8;

/** Submits until `stop` is aborted; resolves when the last one has heard what it waited for. */
export async function keepCalling(deps: CallersDeps, stop: AbortSignal): Promise<void> {
  await Promise.all(Array.from({ length: CALLERS }, (_, i) => callOn(deps, i, stop)));
}

async function callOn(deps: CallersDeps, number: number, stop: AbortSignal): Promise<void> {
  const random = createRandom(deps.seed, `caller ${number}`);
  const client = createClient({ ...deps, random: createRandom(deps.seed, `way of caller ${number}`) });
  const asides = new Set<Promise<void>>();
  for (let turn = 0; !stop.aborted; turn++) {
    await pause(random.between(0.2, 1.8) * (CALLERS / deps.perSecond) * 1_000);
    while (deps.isCrowded() && !stop.aborted) await pause(500);
    const entry = newEntry(deps, random, `${number}-${turn}`);
    await submit(deps, client, entry, random, stop);
    // Whatever else it does with the job it does while it submits the next ones.
    const aside = useJob(deps, client, entry, random, stop).finally(() => asides.delete(aside));
    asides.add(aside);
  }
  await Promise.all(asides);
}

function newEntry({ hosts, ledger }: CallersDeps, random: Random, key: string): Entry {
  const host = random.byWeight(hosts, ({ share }) => share);
  const entry: Entry = {
    ...{ key, host: host.name, kind: host.kind, askedAt: Date.now() },
    ...{ id: null, acknowledgedAt: null, cancelAsked: false },
    order: makeOrder(random, { kind: host.kind, smallDisk: host.dataDir !== undefined }, ledger.fileOf(key)),
  };
  ledger.add(entry);
  return entry;
}

/** The same request, until somebody acknowledges it. */
export async function submit(
  { callbackUrl, ledger }: Pick<CallersDeps, 'callbackUrl' | 'ledger'>,
  client: Client,
  entry: Entry,
  random: Random,
  stop: AbortSignal,
): Promise<void> {
  const wait = random.chance(0.2) ? 1 + random.integer(4) : 0;
  const reply = await client.surely(
    'POST',
    '/v1/jobs',
    {
      body: { target_server: entry.host, callback_url: callbackUrl, ...entry.order.body },
      headers: { 'idempotency-key': `"${entry.key}"`, ...(wait > 0 && { prefer: `wait=${wait}` }) },
      timeoutMs: 6_000 + wait * 1_000,
    },
    stop,
  );
  if (!reply) return;
  if (reply.status !== 202 && reply.status !== 200) {
    ledger.wrong.push(
      `nothing lost: ${entry.key} was refused: ${reply.status} ${JSON.stringify(reply.body)}`,
    );
    return;
  }
  ledger.acknowledge(entry, String(reply.body.id));
  hear(ledger, reply.body, 0);
}

async function useJob(
  { ledger }: CallersDeps,
  client: Client,
  entry: Entry,
  random: Random,
  stop: AbortSignal,
): Promise<void> {
  const [cancels, waits, reads] = [random.chance(0.07), random.chance(0.25), random.chance(0.1)];
  const [inMs, grace] = [random.between(0, 3_000), random.integer(3)];
  const { id } = entry;
  if (id === null) return;
  if (cancels) {
    await pause(inMs);
    entry.cancelAsked = true;
    const reply = await client.surely(
      'POST',
      `/v1/jobs/${id}:cancel`,
      { body: { grace_seconds: grace } },
      stop,
    );
    if (reply?.status === 200 || reply?.status === 202) hear(ledger, reply.body, 0);
  }
  if (waits) {
    const known = ledger.latest(id);
    const reply = await client.once('GET', `/v1/jobs/${id}?wait=5`, { timeoutMs: 11_000 });
    if (reply?.status === 200) hear(ledger, reply.body, known);
    else if (reply && reply.status < 500) ledger.wrong.push(`nothing lost: GET ${id} said ${reply.status}`);
  }
  if (reads) await client.once('GET', `/v1/jobs/${id}/logs?limit=1000`);
}

/** @param known the version that had been told before it was asked: it may not be older now */
function hear(ledger: Ledger, { id, version, state }: Record<string, unknown>, known: number): void {
  const telling = { version: Number(version), state: String(state), by: 'caller' as const };
  if (telling.version < known) {
    ledger.wrong.push(`versions without gaps: ${id} went back from version ${known} to ${version}`);
  }
  ledger.tell(String(id), telling);
}
