/**
 * What is known of each host: learnt from its answers, shared by all processes, by Redis' clock.
 *
 * Silence is counted from failed request to failed request and never beyond twice the longest pause between
 * two of them: time in which nobody asked (the gateway was off) is no silence of the host's.
 *
 * A change of status is told in the script that makes it, in the stream of all changes, and moves the host between
 * the groups by which hosts are counted.
 */
import type { AgentFacts, HostHealth } from '../../job/host.ts';
import type { HostChange } from '../feed.ts';
import type { Keys } from '../keys.ts';
import { createClock } from '../redis/replies.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { healthIn } from './record.ts';

/** The longest pause between two tries of a host that does not answer, in ms. */
export const LONGEST_PAUSE_MS = 60_000;

/** How long the groups remember hosts of which nothing was learnt, in ms: longer than anybody counts them. */
const REMEMBERED_MS = 7 * 86_400_000;

const LEARNT = ['up', 'suspect', 'down', 'misconfigured'] as const;

/** By what hosts are counted: what was learnt of them, and what operators say (a draining host is in two). */
export const HOST_GROUPS = [...LEARNT, 'draining'] as const;
export type HostGroup = (typeof HOST_GROUPS)[number];

/**
 * Lua, for scripts with KEYS 1 health 2 stream 3.. the groups of LEARNT in its order, ARGV 1 host 2 channel:
 * `become(status, now, cause)` writes the status, tells it if it is another one, and returns whether it is;
 * `tell(type, status, cause)` needs KEYS 2 only.
 */
const BECOME_LUA = `
local GROUPS = {up = 3, suspect = 4, down = 5, misconfigured = 6}
local function tell(type, status, cause)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', 100000, '*', 'id', '', 'version', 0, 'state', status, 'host', ARGV[1],
    'owner', '', 'type', type, 'cause', cause)
  -- In the shape of a job's change, which readers of earlier versions take apart.
  redis.call('PUBLISH', ARGV[2], cjson.encode({'', 0, status, ARGV[1], '', type}))
end
local function become(status, now, cause)
  local before = redis.call('HGET', KEYS[1], 'status')
  redis.call('HSET', KEYS[1], 'status', status)
  redis.call('ZADD', KEYS[GROUPS[status]], now, ARGV[1])
  if before == status then return false end
  for group, key in pairs(GROUPS) do
    if group ~= status then redis.call('ZREM', KEYS[key], ARGV[1]) end
    redis.call('ZREMRANGEBYSCORE', KEYS[key], '-inf', now - ${REMEMBERED_MS})
  end
  tell('host.' .. status, status, cause)
  return true
end
`;

/**
 * KEYS and ARGV 1-2 as above
 * ARGV 3 status (unreachable or misconfigured) 4 cause 5 remedy or "" 6 jitter, 0.8 to 1.2 7 how long ago the request began, in ms
 * Returns {when it may be asked again, the new status or "" if it has not changed}.
 */
const failedScript = defineScript(`
${BECOME_LUA}
local now = clock()
local held = redis.call('HMGET', KEYS[1], 'last_failed_at', 'retry_at', 'status')
local retry_at = tonumber(held[2] or 0)
-- Requests that were under way together fail together: that is one failure, or an agent's restart would be an outage.
local began = now - tonumber(ARGV[7])
if began < tonumber(held[1] or 0) and (held[3] == 'misconfigured') == (ARGV[3] == 'misconfigured') then
  return {retry_at, ''}
end
local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
local status = ARGV[3]
if status == 'unreachable' then status = failures < 3 and 'suspect' or 'down' end
-- A host that refuses the token has answered: its trouble is no silence, however long it lasts.
if ARGV[3] == 'unreachable' then
  local last = tonumber(redis.call('HGET', KEYS[1], 'last_failed_at') or now)
  redis.call('HINCRBY', KEYS[1], 'silent_ms', math.min(now - last, ${2 * LONGEST_PAUSE_MS}))
  redis.call('HINCRBY', KEYS[1], 'silent_asks', 1)
  redis.call('HSETNX', KEYS[1], 'silent_since', now)
end
local pause = math.min(1000 * 2 ^ math.min(failures - 1, 10), ${LONGEST_PAUSE_MS})
if status == 'misconfigured' then pause = math.max(pause, 10000) end
local retry = math.max(retry_at, now + math.floor(pause * ARGV[6]))
redis.call('HSET', KEYS[1], 'cause', ARGV[4], 'last_failed_at', now, 'retry_at', retry)
if ARGV[5] == '' then redis.call('HDEL', KEYS[1], 'remedy') else redis.call('HSET', KEYS[1], 'remedy', ARGV[5]) end
return {retry, become(status, now, ARGV[4]) and status or ''}
`);

/**
 * KEYS and ARGV 1-2 as above
 * ARGV 3 the agent's facts as JSON, or ""
 * Returns 1 if the host had been failing or unknown before.
 */
const contactedScript = defineScript(`
${BECOME_LUA}
local now = clock()
redis.call('HSET', KEYS[1], 'last_contact_at', now)
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'agent', ARGV[3]) end
if not become('up', now, '') then return 0 end
redis.call('HDEL', KEYS[1], 'cause', 'remedy', 'failures', 'retry_at', 'silent_since', 'silent_ms', 'silent_asks',
  'last_failed_at')
return 1
`);

/** KEYS 1 health 2 stream 3 the draining hosts ARGV 1 host 2 channel 3 "1" to drain. Returns 1 if that was a change. */
const drainScript = defineScript(`
${BECOME_LUA}
if ARGV[3] == '1' then
  if redis.call('HSET', KEYS[1], 'draining', '1') == 0 then return 0 end
  redis.call('ZADD', KEYS[3], clock(), ARGV[1])
  tell('host.draining', 'draining', '')
else
  if redis.call('HDEL', KEYS[1], 'draining') == 0 then return 0 end
  redis.call('ZREM', KEYS[3], ARGV[1])
  tell('host.resumed', redis.call('HGET', KEYS[1], 'status') or 'unknown', '')
end
return 1
`);

/**
 * KEYS 1 health ARGV 1 pause in ms 2 its field 3.. other fields and their values
 * Apart from `retry_at`, which ends when the host answers again: what the agent asked for holds all the same.
 */
const pauseScript = defineScript(`
local asked_until = tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or 0)
redis.call('HSET', KEYS[1], ARGV[2], math.max(asked_until, clock() + ARGV[1]), unpack(ARGV, 3))
`);

/** KEYS 1 health ARGV 1 fingerprint 2 "1" to replace a pinned one */
const pinScript = defineScript(`
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], 'pinned_fingerprint', ARGV[1])
  redis.call('HDEL', KEYS[1], 'retry_at')
  redis.call('HINCRBY', KEYS[1], 'revision', 1)
else
  redis.call('HSETNX', KEYS[1], 'pinned_fingerprint', ARGV[1])
end
`);

export interface HostFailure {
  status: 'unreachable' | 'misconfigured';
  cause: string;
  remedy: string | null;
  /** How long the request took that failed, in ms: what was under way together fails once. Missing: no time. */
  tookMs?: number;
}

export interface HealthStore {
  get(name: string): Promise<HostHealth>;
  contacted(name: string, facts?: AgentFacts): Promise<boolean>;
  failed(name: string, failure: HostFailure): Promise<number>;
  pause(name: string, ms: number): Promise<void>;
  pauseStarts(name: string, ms: number, why: string): Promise<void>;
  setDraining(name: string, draining: boolean): Promise<void>;
  pin(name: string, fingerprint: string, options: { replace: boolean }): Promise<void>;
  warn(name: string, warning: string): Promise<void>;
}

export function createHealthStore({
  redis,
  keys,
  onHostChange,
}: {
  redis: Redis;
  keys: Keys;
  /** This process made a change; for metrics. */
  onHostChange?: ((change: HostChange) => void) | undefined;
}): HealthStore {
  const groups = LEARNT.map((group) => keys.hostsIn(group));
  const told = (host: string) => [keys.hostHealth(host), keys.events];

  function changed(host: string, what: string, cause: string | null = null): void {
    onHostChange?.({ type: `host.${what}` as HostChange['type'], host, cause });
  }

  const now = createClock(redis);

  async function get(name: string): Promise<HostHealth> {
    const [hash, seen_at] = await Promise.all([redis.hgetall(keys.hostHealth(name)), now()]);
    return { ...healthIn(hash), seen_at };
  }

  return {
    get,
    async contacted(name, facts) {
      const reply = await contactedScript(
        redis,
        [...told(name), ...groups],
        [name, keys.changes, facts ? JSON.stringify(facts) : ''],
      );
      if (reply === 1) changed(name, 'up');
      return reply === 1;
    },
    async failed(name, { status, cause, remedy, tookMs = 0 }) {
      const jitter = 0.8 + Math.random() * 0.4;
      const [retryAt, become] = (await failedScript(
        redis,
        [...told(name), ...groups],
        [name, keys.changes, status, cause, remedy ?? '', jitter, Math.round(tookMs)],
      )) as [number, string];
      if (become !== '') changed(name, become, cause);
      return retryAt;
    },
    async pause(name, ms) {
      await pauseScript(redis, [keys.hostHealth(name)], [ms, 'asked_until']);
    },
    async pauseStarts(name, ms, why) {
      await pauseScript(redis, [keys.hostHealth(name)], [ms, 'no_starts_until', 'no_starts_why', why]);
    },
    async setDraining(name, draining) {
      const reply = await drainScript(
        redis,
        [...told(name), keys.hostsIn('draining')],
        [name, keys.changes, draining ? '1' : ''],
      );
      if (reply === 1) changed(name, draining ? 'draining' : 'resumed');
    },
    async pin(name, fingerprint, { replace }) {
      await pinScript(redis, [keys.hostHealth(name)], [fingerprint, replace ? '1' : '0']);
    },
    async warn(name, warning) {
      const { warnings } = await get(name);
      if (warnings.includes(warning)) return;
      await redis.hset(keys.hostHealth(name), 'warnings', JSON.stringify([...warnings, warning]));
    },
  };
}
