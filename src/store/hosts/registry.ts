/**
 * Registered hosts. One address is one host: its name is claimed in the same script that writes the host, and a
 * write loses against one that came in between (it then looks again).
 */
import { type ErrorCode, SluiceError } from '../../job/errors.ts';
import type { HostConfig, HostRate, HostTls } from '../../job/host.ts';
import type { Job } from '../../job/record.ts';
import { getMany } from '../jobs/read.ts';
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import type { Sealer } from '../sealing.ts';
import { HOST_GROUPS } from './health.ts';
import { type HostPage, type HostPageOrder, list } from './list.ts';
import { DEFAULT_MAX_REQUESTS, DEFAULT_TLS, hostPlace } from './patterns.ts';
import { hostIn } from './record.ts';

/** `PUT /v1/hosts/{name}`: a field left out keeps its value, null takes it back to its default. */
export interface HostPatch {
  address?: string;
  token?: string;
  tls?: HostTls | null;
  max_requests?: number | null;
  rate?: HostRate | null;
  max_jobs?: number | null;
  labels?: Record<string, string> | null;
  allowed_users?: (string | null)[] | null;
  launcher?: boolean | null;
}

/**
 * KEYS 1 host 2 its address before (or its host key) 3 its address now 4 all hosts 5 health
 * ARGV 1 the host as the caller saw it, or "" 2 the host now 3 name 4 "1" if it may answer otherwise from now on
 * Returns "ok", "changed" (look again) or the name of the host that has the address.
 */
const putScript = defineScript(`
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 'changed' end
local holder = redis.call('GET', KEYS[3])
if holder and holder ~= ARGV[3] then return 'held by ' .. holder end
-- Before what only takes away: a Redis that is full stops a script at its first write that needs room, or not at all.
redis.call('HINCRBY', KEYS[5], 'revision', 1)
if KEYS[2] ~= KEYS[1] then
  redis.call('DEL', KEYS[2])
  redis.call('HDEL', KEYS[5], 'pinned_fingerprint', 'agent')
end
-- What was changed may have mended it: it is tried at once.
if ARGV[4] == '1' then redis.call('HDEL', KEYS[5], 'retry_at', 'asked_until', 'no_starts_until') end
redis.call('SET', KEYS[3], ARGV[3])
redis.call('SET', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[4], 0, ARGV[3])
return 'ok'
`);

/**
 * KEYS 1 host 2 address 3 all hosts 4 health 5 mailbox 6 slots 7 followed 8 hosts with followed jobs 9 ready 10 turns
 *      11 active jobs 12 budget 13 armed 14.. the groups by which hosts are counted
 * ARGV 1 the host as the caller saw it 2 name 3.. lost jobs, which are over: they may still be followed
 * Returns 1 if removed, 0 if it has jobs, -1 if it changed.
 */
const removeScript = defineScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
-- Requests of processes that died: nobody takes their slots away where there are no jobs.
for _, holder in ipairs(redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', clock())) do
  if holder:sub(1, 6) ~= 'start:' then redis.call('ZREM', KEYS[6], holder) end
end
local jobs = 0
for _, i in ipairs({5, 6, 9, 11}) do jobs = jobs + redis.call('ZCARD', KEYS[i]) end
if jobs > 0 then return 0 end
if redis.call('ZCARD', KEYS[7]) ~= #ARGV - 2 then return -1 end
for i = 3, #ARGV do
  if not redis.call('ZSCORE', KEYS[7], ARGV[i]) then return -1 end
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[4], KEYS[7], KEYS[10], KEYS[11], KEYS[12])
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('ZREM', KEYS[8], ARGV[2])
redis.call('ZREM', KEYS[13], ARGV[2])
for i = 14, #KEYS do redis.call('ZREM', KEYS[i], ARGV[2]) end
return 1
`);

export interface Registry {
  put(name: string, patch: HostPatch): Promise<{ host: HostConfig; created: boolean }>;
  get(name: string): Promise<HostConfig | null>;
  /** The host with its text in the record. */
  read(name: string): Promise<{ host: HostConfig; text: string } | null>;
  /** The name of the host at this address. */
  nameAt(address: string): Promise<string | null>;
  byAddress(address: string): Promise<HostConfig | null>;
  list(page: HostPageOrder): Promise<HostPage>;
  remove(name: string): Promise<boolean>;
}

export function createRegistry({
  redis,
  keys,
  sealer,
}: {
  redis: Redis;
  keys: Keys;
  sealer: Sealer;
}): Registry {
  async function read(name: string) {
    const text = await redis.get(keys.host(name));
    return text === null ? null : { host: hostIn(text), text };
  }
  const get = async (name: string) => (await read(name))?.host ?? null;
  const nameAt = (address: string) => redis.get(keys.hostAddress(address));

  return {
    get,
    read,
    nameAt,
    async put(name, patch) {
      for (;;) {
        const seen = await redis.get(keys.host(name));
        const before = seen === null ? null : hostIn(seen);
        const host = patched(name, before, patch, sealer);
        const text = JSON.stringify(host);
        // Whoever repeats himself changes nothing: a pause that the agent asked for goes on, and so does its circuit.
        if (text === seen) return { host, created: false };
        const answer = await putScript(
          redis,
          [
            keys.host(name),
            before && before.address !== host.address ? keys.hostAddress(before.address) : keys.host(name),
            keys.hostAddress(host.address),
            keys.hosts,
            keys.hostHealth(name),
          ],
          [seen ?? '', text, name, isReachedOtherwise(before, host) ? '1' : ''],
        );
        if (answer === 'ok') return { host, created: before === null };
        if (answer !== 'changed') throw fault('address_in_use', 'address', `${host.address} is ${answer}`);
      }
    },
    async byAddress(address) {
      const name = await nameAt(address);
      return name === null ? null : get(name);
    },
    list: (page) => list(redis, keys, page),
    async remove(name) {
      for (;;) {
        const seen = await redis.get(keys.host(name));
        if (seen === null) return false;
        const { address } = hostIn(seen);
        const followed = await redis.zrange(keys.followed(name), 0, '-1');
        const isActive = (job: Job | null) => job !== null && job.state !== 'lost';
        if ((await getMany(redis, keys, followed)).some(isActive))
          throw new SluiceError('host_has_active_jobs');
        const answer = await removeScript(
          redis,
          [
            keys.host(name),
            keys.hostAddress(address),
            keys.hosts,
            keys.hostHealth(name),
            keys.mailbox(name),
            keys.slots(name),
            keys.followed(name),
            keys.hostsFollowed,
            keys.ready(name),
            keys.turns(name),
            keys.activeJobs(name),
            keys.hostBudget(name),
            keys.armed,
            ...HOST_GROUPS.map(keys.hostsIn),
          ],
          [seen, name, ...followed],
        );
        if (answer === 0) throw new SluiceError('host_has_active_jobs');
        if (answer === 1) return true;
      }
    },
  };
}

/** Whether it may answer otherwise from now on; its limits say only how much is asked of it. */
function isReachedOtherwise(before: HostConfig | null, now: HostConfig): boolean {
  const of = (host: HostConfig) => JSON.stringify([host.address, host.sealed_token, host.tls, host.launcher]);
  return before === null || of(before) !== of(now);
}

function patched(name: string, before: HostConfig | null, patch: HostPatch, sealer: Sealer): HostConfig {
  const address = patch.address ?? before?.address;
  if (address === undefined) throw fault('invalid_request', 'address', 'a new host needs an address');
  if (patch.token === undefined && before === null) {
    throw fault('invalid_request', 'token', 'a new host needs a token');
  }
  const tls = patch.tls === null ? DEFAULT_TLS : (patch.tls ?? before?.tls ?? DEFAULT_TLS);
  if (patch.token === undefined && before && (address !== before.address || isLooser(tls, before.tls))) {
    // Else whoever may write hosts could send a stored token to an address of their own.
    throw fault('token_required', 'token', 'a new address or a looser tls needs the token again');
  }
  const settle = <T>(change: T | null | undefined, old: T | undefined, standard: T): T =>
    change === null ? standard : (change ?? old ?? standard);
  return {
    name,
    address,
    sealed_token: sealedToken(name, patch.token, before, sealer),
    tls,
    max_requests: settle(patch.max_requests, before?.max_requests, DEFAULT_MAX_REQUESTS),
    rate: patch.rate === undefined ? (before?.rate ?? null) : patch.rate,
    max_jobs: patch.max_jobs === undefined ? (before?.max_jobs ?? null) : patch.max_jobs,
    labels: settle(patch.labels, before?.labels, {}),
    allowed_users: patch.allowed_users === undefined ? (before?.allowed_users ?? null) : patch.allowed_users,
    launcher: settle(patch.launcher, before?.launcher, true),
    registered: true,
  };
}

/** The token that it has already stays sealed as it is: sealed anew, it would look like another one. */
function sealedToken(
  name: string,
  token: string | undefined,
  before: HostConfig | null,
  sealer: Sealer,
): string {
  const place = hostPlace(name);
  if (before && (token === undefined || opens(before.sealed_token, place, sealer) === token)) {
    return before.sealed_token;
  }
  return sealer.seal(token as string, place);
}

/** Null where it was sealed with another key: it is then replaced. */
function opens(sealed: string, place: string, sealer: Sealer): string | null {
  try {
    return sealer.open(sealed, place);
  } catch {
    return null;
  }
}

/** Anything but the same setting, or a fingerprint in place of something weaker, may let another server in. */
function isLooser(now: HostTls, before: HostTls): boolean {
  if (JSON.stringify(now) === JSON.stringify(before)) return false;
  return !('fingerprint' in now && !('fingerprint' in before));
}

function fault(code: ErrorCode, field: string, detail: string): SluiceError {
  return new SluiceError(code, detail, { fields: { field } });
}
