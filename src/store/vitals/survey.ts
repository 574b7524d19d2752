/**
 * What only a look at every host with jobs and every open batch can tell: how long jobs have waited that may start, how late
 * questions are, how far batches have come. A few reads for each, in scripts of bounded size: done now and then by one
 * process (`workers/survey.ts`), and noted for all (`vitals.ts`).
 */
import type { HostStatus } from '../../job/host.ts';
import { waiting } from '../deliveries/places.ts';
import type { Keys } from '../keys.ts';
import { idAt } from '../mailbox/places.ts';
import { clock } from '../redis/replies.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { type BatchSurvey, surveyBatches } from './batches.ts';

/** What the host of a waiting job is up to: `up` (or not known yet), `away` (it fails), `draining`. */
export type Whereabouts = 'up' | 'away' | 'draining';

export interface Survey {
  /** Jobs that may start now and have not. */
  waiting: Record<Whereabouts, { jobs: number; oldestMs: number }>;
  polls: { lateMs: number; lateHosts: number };
  deliveries: { lagMs: number };
  /** Missing in the notes of earlier versions. */
  batches?: BatchSurvey;
}

/** What waits at one host. */
export interface Backlog {
  host: string;
  whereabouts: Whereabouts;
  /** How many jobs may start now. */
  jobs: number;
  /** Since when the first one not yet lined up may start, in ms. */
  since: number | null;
  /** The jobs that are first and last in line. */
  ends: string[];
}

export interface SurveyStore {
  /** Hosts with something in their mailbox. All at once: they change places all the time. */
  armedHosts(): Promise<string[]>;
  /** Those of these hosts, `PAGE` at most, that have jobs which may start now. */
  queues(hosts: string[]): Promise<Backlog[]>;
  /** How late the soonest questions to these hosts are, in ms; only those that are late. */
  latePolls(hosts: string[]): Promise<{ host: string; lateMs: number }[]>;
  /** How long the oldest delivery that is due, or change that nobody made into deliveries, has waited. */
  deliveryLagMs(): Promise<number>;
  batches(): Promise<BatchSurvey>;
}

/** Hosts looked at in one script: about 1 ms of Redis. */
export const PAGE = 200;
/** Receivers looked at, those that are due first. */
const ORIGINS = 1_000;

/**
 * KEYS for each host: 1 mailbox 2 ready 3 health
 * Returns for each host with jobs that may start {its number, how many, since when or "", first, last, status, draining}.
 */
const queuesScript = defineScript(`
local now = clock()
local found = {}
for i = 1, #KEYS, 3 do
  local due, ready = redis.call('ZCOUNT', KEYS[i], '-inf', now), redis.call('ZCARD', KEYS[i + 1])
  if due + ready > 0 then
    local since = due > 0 and redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')[2] or ''
    local first = redis.call('ZRANGE', KEYS[i + 1], 0, 0)[1] or ''
    local last = redis.call('ZRANGE', KEYS[i + 1], -1, -1)[1] or ''
    local health = redis.call('HMGET', KEYS[i + 2], 'status', 'draining')
    found[#found + 1] = {(i - 1) / 3, due + ready, since, first, last, health[1] or 'unknown', health[2] or ''}
  end
end
return found
`);

/** KEYS followed, for each host. Returns for each late one {its number, by how many ms}. */
const latePollsScript = defineScript(`
local now = clock()
local late = {}
for i = 1, #KEYS do
  local at = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')[2]
  if at and tonumber(at) < now then late[#late + 1] = {i - 1, math.floor(now - at)} end
end
return late
`);

export function createSurveyStore({ redis, keys }: { redis: Redis; keys: Keys }): SurveyStore {
  return {
    armedHosts: () => redis.zrange(keys.armed, '0', '-1'),
    async queues(hosts) {
      const places = hosts.flatMap((host) => [keys.mailbox(host), keys.ready(host), keys.hostHealth(host)]);
      const found = (await queuesScript(redis, places, [])) as [
        number,
        number,
        string,
        string,
        string,
        HostStatus,
        string,
      ][];
      return found.map(([i, jobs, since, first, last, status, draining]) => ({
        host: hosts[i] as string,
        whereabouts: whereaboutsOf(status, draining === '1'),
        jobs,
        since: since === '' ? null : Number(since),
        ends: [first, last].filter((place) => place !== '').map(idAt),
      }));
    },
    async latePolls(hosts) {
      const found = (await latePollsScript(redis, hosts.map(keys.followed), [])) as [number, number][];
      return found.map(([i, lateMs]) => ({ host: hosts[i] as string, lateMs }));
    },
    async deliveryLagMs() {
      const now = await clock(redis);
      const origins = await redis.zrange(keys.deliveriesDue, 0, `${ORIGINS - 1}`);
      // What is being sent is due again when its lease ends: only what nobody sends is overdue.
      const firsts = await Promise.all(
        origins.map((origin) => redis.zrange(waiting(keys, origin), '0', '0', 'WITHSCORES')),
      );
      const oldest = await redis.lindex(keys.outbox, 0);
      const told = oldest === null ? now : (JSON.parse(oldest) as { at: number }).at;
      const due = firsts.map(([, at]) => Number(at ?? now));
      return Math.max(0, now - Math.min(told, ...due));
    },
    batches: () => surveyBatches(redis, keys),
  };
}

function whereaboutsOf(status: HostStatus, draining: boolean): Whereabouts {
  if (draining) return 'draining';
  return status === 'up' || status === 'unknown' ? 'up' : 'away';
}
