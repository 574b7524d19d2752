/**
 * The mailboxes: for each host the jobs that wait to be started there. What may start by now is lined up in the
 * ready set in the order in which it will (`mailbox/take.ts`), the rest waits in the mailbox by its time.
 *
 * `take` claims jobs into slots; whoever got one either moves its job on and releases the slot, or gives it back.
 * A slot that expires (its worker died) gives its job back by itself, inside the next `take`, so a job is always in
 * a mailbox, in a ready set, in a slot, or it has been started.
 */
import type { Job } from '../job/record.ts';
import { owe } from './budget.ts';
import type { Keys } from './keys.ts';
import { PLACES_LUA, placeOf } from './mailbox/places.ts';
import {
  type Claim,
  holderOf,
  type StartLimits,
  type Taken,
  type TakeOptions,
  take,
} from './mailbox/take.ts';
import { clock } from './redis/replies.ts';
import { defineScript } from './redis/script.ts';
import type { Redis } from './redis.ts';
import { renewSlot } from './slots.ts';

export type { Beginning } from './mailbox/begin.ts';
export type { Claim, Limit, StartLimits, Taken } from './mailbox/take.ts';

export interface Mailbox {
  /** Claims what may be started now within the host's limits, at most `most`. */
  take(host: string, limits: StartLimits, options: TakeOptions): Promise<Taken>;
  /** How many jobs may start by now, whatever the host's limits say. */
  ready(host: string): Promise<number>;
  /** Keeps the slot of a start that is still under way. @returns whether it is still held */
  renew(host: string, claim: Claim, leaseMs: number): Promise<boolean>;
  /** Frees the slot of a start that is settled. */
  release(host: string, claim: Claim): Promise<void>;
  /** As `TakeOptions.lateMs`, where no take follows. */
  owe(host: string, lateMs: number): Promise<void>;
  /** Puts a claimed job back, to be taken again after `delayMs`, before others of its priority. */
  giveBack(host: string, claim: Claim, delayMs: number): Promise<void>;
  /** Has a mailbox looked at after `delayMs` only. */
  putOff(host: string, delayMs: number): Promise<void>;
  /** Has nobody look at a mailbox any more. @returns false if something waits or is in a slot: it is left as it is */
  disarmIfEmpty(host: string): Promise<boolean>;
  /** Those of the jobs that do not wait in their hosts' mailboxes: in somebody's hands, over by now, or in nobody's. */
  withoutPlace(jobs: readonly Job[]): Promise<Job[]>;
  /** Puts a job back that is in nobody's hands, not before its `not_before`; what waits or is in a slot is left alone. */
  rescue(job: Job): Promise<boolean>;
  /** Hosts whose mailbox should have been looked at `lateMs` ago. */
  overdue(lateMs: number, limit: number): Promise<string[]>;
}

/** KEYS 1 mailbox 2 ready. Returns how many may start by now. */
const readyScript = defineScript(`
return redis.call('ZCARD', KEYS[2]) + redis.call('ZCOUNT', KEYS[1], '-inf', clock())
`);

/**
 * KEYS 1 slots 2 mailbox 3 armed 4 turns 5 ready
 * ARGV 1 the slot's holder 2 place 3 delay in ms 4 host
 * Only who holds the slot may give the job back: a slot that expired has done so already. Where a move has put the job
 * back meanwhile (a worker that was held up found that nothing was started), its time holds.
 */
const giveBackScript = defineScript(`
${PLACES_LUA}
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
local due = clock() + ARGV[3]
if redis.call('ZSCORE', KEYS[5], ARGV[2]) or redis.call('ZADD', KEYS[2], 'NX', due, ARGV[2]) == 0 then return 1 end
redis.call('ZADD', KEYS[3], 'LT', due, ARGV[4])
redis.call('HSET', KEYS[4], 'again:' .. id_at(ARGV[2]), 1)
return 1
`);

/** KEYS for each place its mailbox and its ready set ARGV the places. Returns the numbers of those in neither. */
const withoutPlaceScript = defineScript(`
local found = {}
for i, place in ipairs(ARGV) do
  if not redis.call('ZSCORE', KEYS[2 * i - 1], place) and not redis.call('ZSCORE', KEYS[2 * i], place) then
    found[#found + 1] = i
  end
end
return found
`);

/**
 * KEYS 1 mailbox 2 ready 3 slots 4 armed 5 job
 * ARGV 1 place 2 host 3 not_before or 0
 * Returns 1 if the job was in nobody's hands.
 */
const rescueScript = defineScript(`
${PLACES_LUA}
-- The caller read its record a while ago: a job that has been started since needs no place.
local state = redis.call('HGET', KEYS[5], 'state')
if state ~= 'queued' and state ~= 'dispatching' then return 0 end
if redis.call('ZSCORE', KEYS[1], ARGV[1]) or redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
for _, holder in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  if place_in(holder) == ARGV[1] then return 0 end
end
local due = math.max(clock(), tonumber(ARGV[3]))
redis.call('ZADD', KEYS[1], due, ARGV[1])
redis.call('ZADD', KEYS[4], 'LT', due, ARGV[2])
return 1
`);

/** KEYS 1 armed ARGV 1 host 2 delay in ms */
const putOffScript = defineScript(`
redis.call('ZADD', KEYS[1], 'XX', clock() + ARGV[2], ARGV[1])
`);

/** KEYS 1 armed 2 mailbox 3 ready 4 slots ARGV 1 host. Returns 1 if nothing is there. */
const disarmIfEmptyScript = defineScript(`
if redis.call('EXISTS', KEYS[2], KEYS[3], KEYS[4]) > 0 then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
`);

export function createMailbox(stored: { redis: Redis; keys: Keys }): Mailbox {
  const { redis, keys } = stored;
  return {
    take: (host, limits, options) => take(stored, host, limits, options),
    async ready(host) {
      return (await readyScript(redis, [keys.mailbox(host), keys.ready(host)], [])) as number;
    },
    renew: (host, claim, leaseMs) => renewSlot(redis, keys, host, holderOf(claim), leaseMs),
    async release(host, claim) {
      await redis.zrem(keys.slots(host), holderOf(claim));
    },
    owe: (host, lateMs) => owe(redis, keys, host, lateMs),
    async giveBack(host, claim, delayMs) {
      await giveBackScript(
        redis,
        [keys.slots(host), keys.mailbox(host), keys.armed, keys.turns(host), keys.ready(host)],
        [holderOf(claim), claim.place, Math.round(delayMs), host],
      );
    },
    async putOff(host, delayMs) {
      await putOffScript(redis, [keys.armed], [host, delayMs]);
    },
    async disarmIfEmpty(host) {
      const places = [keys.mailbox(host), keys.ready(host), keys.slots(host)];
      return (await disarmIfEmptyScript(redis, [keys.armed, ...places], [host])) === 1;
    },
    async withoutPlace(jobs) {
      if (jobs.length === 0) return [];
      const where = jobs.flatMap(({ host }) => [keys.mailbox(host), keys.ready(host)]);
      const found = (await withoutPlaceScript(redis, where, jobs.map(placeOf))) as number[];
      return found.map((i) => jobs[i - 1] as Job);
    },
    async rescue(job) {
      const { host } = job;
      const held = [keys.mailbox(host), keys.ready(host), keys.slots(host), keys.armed, keys.job(job.id)];
      return (await rescueScript(redis, held, [placeOf(job), host, job.not_before ?? 0])) === 1;
    },
    async overdue(lateMs, limit) {
      const late = (await clock(redis)) - lateMs;
      return redis.zrangebyscore(keys.armed, '-inf', late, 'LIMIT', 0, limit);
    },
  };
}
