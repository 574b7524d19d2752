/**
 * What is known of each host: learnt from its answers, shared by all processes, by Redis' clock.
 *
 * Silence is counted from failed request to failed request and never beyond twice the longest pause between
 * two of them: time in which nobody asked (the gateway was off) is no silence of the host's.
 */
import { type AgentFacts, type HostHealth, type HostStatus, UNKNOWN_HEALTH } from '../../job/host.ts';
import type { HostFailure } from '../hosts.ts';
import type { Keys } from '../keys.ts';
import type { Redis } from '../redis.ts';
import { type Hash, milliseconds, results } from '../replies.ts';
import { defineScript } from '../script.ts';

/** The longest pause between two tries of a host that does not answer, in ms. */
export const LONGEST_PAUSE_MS = 60_000;

/**
 * KEYS 1 health
 * ARGV 1 status (unreachable or misconfigured) 2 cause 3 remedy or "" 4 jitter, 0.8 to 1.2
 * Returns when it may be asked again.
 */
const failedScript = defineScript(`
local now = clock()
local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
local status = ARGV[1]
if status == 'unreachable' then status = failures < 3 and 'suspect' or 'down' end
-- A host that refuses the token has answered: its trouble is no silence, however long it lasts.
if ARGV[1] == 'unreachable' then
  local last = tonumber(redis.call('HGET', KEYS[1], 'last_failed_at') or now)
  redis.call('HINCRBY', KEYS[1], 'silent_ms', math.min(now - last, ${2 * LONGEST_PAUSE_MS}))
  redis.call('HINCRBY', KEYS[1], 'silent_asks', 1)
  redis.call('HSETNX', KEYS[1], 'silent_since', now)
end
local pause = math.min(1000 * 2 ^ math.min(failures - 1, 10), ${LONGEST_PAUSE_MS})
if status == 'misconfigured' then pause = math.max(pause, 10000) end
local retry = now + math.floor(pause * ARGV[4])
redis.call('HSET', KEYS[1], 'status', status, 'cause', ARGV[2], 'last_failed_at', now, 'retry_at', retry)
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], 'remedy') else redis.call('HSET', KEYS[1], 'remedy', ARGV[3]) end
return retry
`);

/**
 * KEYS 1 health
 * ARGV 1 the agent's facts as JSON, or ""
 * Returns 1 if the host had been failing or unknown before.
 */
const contactedScript = defineScript(`
local now = clock()
local before = redis.call('HGET', KEYS[1], 'status')
redis.call('HSET', KEYS[1], 'status', 'up', 'last_contact_at', now)
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], 'agent', ARGV[1]) end
if before == 'up' then return 0 end
redis.call('HDEL', KEYS[1], 'cause', 'remedy', 'failures', 'retry_at', 'silent_since', 'silent_ms', 'silent_asks',
  'last_failed_at')
return 1
`);

/** KEYS 1 health ARGV 1 pause in ms */
const pauseScript = defineScript(`
redis.call('HSET', KEYS[1], 'retry_at', clock() + ARGV[1])
`);

/** KEYS 1 health ARGV 1 fingerprint 2 "1" to replace a pinned one */
const pinScript = defineScript(`
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], 'pinned_fingerprint', ARGV[1])
  redis.call('HDEL', KEYS[1], 'retry_at')
else
  redis.call('HSETNX', KEYS[1], 'pinned_fingerprint', ARGV[1])
end
`);

export interface HealthStore {
  get(name: string): Promise<HostHealth>;
  contacted(name: string, facts?: AgentFacts): Promise<boolean>;
  failed(name: string, failure: HostFailure): Promise<number>;
  pause(name: string, ms: number): Promise<void>;
  setDraining(name: string, draining: boolean): Promise<void>;
  pin(name: string, fingerprint: string, options: { replace: boolean }): Promise<void>;
  warn(name: string, warning: string): Promise<void>;
}

export function createHealthStore({ redis, keys }: { redis: Redis; keys: Keys }): HealthStore {
  async function get(name: string): Promise<HostHealth> {
    const pipeline = redis.pipeline();
    pipeline.hgetall(keys.hostHealth(name)).time();
    const [hash, time] = (await results(pipeline)) as [Hash, [string, string]];
    return { ...decode(hash), seen_at: milliseconds(time) };
  }

  return {
    get,
    async contacted(name, facts) {
      const reply = await contactedScript(
        redis,
        [keys.hostHealth(name)],
        [facts ? JSON.stringify(facts) : ''],
      );
      return reply === 1;
    },
    async failed(name, { status, cause, remedy }) {
      const jitter = 0.8 + Math.random() * 0.4;
      return (await failedScript(
        redis,
        [keys.hostHealth(name)],
        [status, cause, remedy ?? '', jitter],
      )) as number;
    },
    async pause(name, ms) {
      await pauseScript(redis, [keys.hostHealth(name)], [ms]);
    },
    async setDraining(name, draining) {
      if (draining) await redis.hset(keys.hostHealth(name), 'draining', '1');
      else await redis.hdel(keys.hostHealth(name), 'draining');
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

function decode(hash: Hash): HostHealth {
  const number = (text: string | undefined) => (text === undefined ? null : Number(text));
  return {
    ...UNKNOWN_HEALTH,
    status: (hash.status as HostStatus | undefined) ?? 'unknown',
    cause: hash.cause ?? null,
    remedy: hash.remedy ?? null,
    draining: hash.draining === '1',
    failures: number(hash.failures) ?? 0,
    retry_at: number(hash.retry_at),
    last_contact_at: number(hash.last_contact_at),
    silent_since: number(hash.silent_since),
    silent_ms: number(hash.silent_ms) ?? 0,
    silent_asks: number(hash.silent_asks) ?? 0,
    pinned_fingerprint: hash.pinned_fingerprint ?? null,
    agent: hash.agent === undefined ? null : (JSON.parse(hash.agent) as AgentFacts),
    warnings: hash.warnings === undefined ? [] : (JSON.parse(hash.warnings) as string[]),
  };
}
