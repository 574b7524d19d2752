/**
 * Where a batch stands and which hosts it waits for, read for `explain`: it counts as `course.ts` does, and changes nothing.
 * What it means is `job/batch/waiting-for.ts`.
 */
import { AWAITED, type Awaited, type BatchStanding } from '../../job/batch/waiting-for.ts';
import type { BatchState } from '../../job/batch.ts';
import type { Keys } from '../keys.ts';
import { clock, type Hash, results } from '../redis/replies.ts';
import type { Redis } from '../redis.ts';
import { decodeBatch, decodeTarget } from './codec.ts';
import { type Standing, standings } from './marks.ts';

/** Null where there is no record. */
export async function readStanding(redis: Redis, keys: Keys, id: string): Promise<BatchStanding | null> {
  const [request, hash, marks, targets, held, due] = (await results(
    redis
      .multi()
      .get(keys.batchRequest(id))
      .hgetall(keys.batch(id))
      .get(keys.batchMarks(id))
      .lrange(keys.batchTargets(id), 0, -1)
      .smembers(keys.batchHeld(id))
      .zscore(keys.batchesDue, id),
  )) as [string | null, Hash, string | null, string[], string[], string | null];
  if (request === null || hash.state === undefined) return null;
  const batch = decodeBatch(request, hash);
  const isHeld = new Set(held.map(Number));
  const placed = standings(marks ?? '', batch.total).map((standing, i) => ({
    standing,
    host: decodeTarget(targets[i] ?? '').host,
    isHeld: isHeld.has(i),
  }));
  const silent = await troubles(redis, keys, placed);
  const hosts = Object.fromEntries(AWAITED.map((why) => [why, [] as string[]])) as Record<Awaited, string[]>;
  for (const one of placed) {
    const why = awaited(one, silent.get(one.host));
    if (why !== null) hosts[why].push(one.host);
  }
  const replaces = hash.held_for ?? null;
  const number = (field: string) => Number(hash[field] ?? 0);
  const notAnswering = hosts.down.length + hosts.misconfigured.length;
  const { failed, timed_out, lost, expired, unreachable, queued, running, canceling } = batch.counts;
  return {
    now: await clock(redis),
    batch,
    state_since: Number(hash.state_at ?? batch.created_at),
    paused_by: hash.paused_by || null,
    waits_for: replaces,
    waits_for_state: replaces === null ? null : await stateOf(redis, keys, replaces),
    wave_end: number('wave_end'),
    due_at: due === null ? null : Number(due),
    failures: failed + timed_out + lost + expired - number('expired_away') - number('failures_base'),
    unreachable: unreachable + notAnswering + number('expired_away') - number('unreachable_base'),
    in_use: queued + running + canceling + unreachable - notAnswering,
    hosts,
  };
}

async function stateOf(redis: Redis, keys: Keys, id: string): Promise<BatchState | null> {
  return (await redis.hget(keys.batch(id), 'state')) as BatchState | null;
}

interface Placed {
  standing: Standing;
  host: string;
  /** Its batch holds its job back. */
  isHeld: boolean;
}

type Trouble = 'down' | 'misconfigured' | 'draining';
const TROUBLES: readonly Trouble[] = ['down', 'misconfigured', 'draining'];

/** What is wrong with the hosts on which a job is not started yet. */
async function troubles(redis: Redis, keys: Keys, placed: Placed[]): Promise<Map<string, Trouble>> {
  const hosts = placed.filter(({ standing }) => isNotStarted(standing)).map(({ host }) => host);
  if (hosts.length === 0) return new Map();
  const pipeline = redis.pipeline();
  for (const trouble of TROUBLES) pipeline.zmscore(keys.hostsIn(trouble), hosts);
  const found = (await results(pipeline)) as (string | null)[][];
  return new Map(
    hosts.flatMap((host, i) => {
      const trouble = TROUBLES.find((_, which) => found[which]?.[i] != null);
      return trouble ? [[host, trouble] as const] : [];
    }),
  );
}

function isNotStarted(standing: Standing): boolean {
  return standing === 'queued' || standing === 'dispatching';
}

/** As what its host is waited for; null: it is not. */
function awaited({ standing, isHeld }: Placed, trouble: Trouble | undefined): Awaited | null {
  switch (standing) {
    case 'queued':
      return trouble ?? (isHeld ? 'held_back' : 'busy');
    case 'dispatching':
      return trouble === undefined || trouble === 'draining' ? 'starting' : trouble;
    case 'running':
    case 'unreachable':
    case 'canceling':
      return standing;
    default:
      return null;
  }
}
