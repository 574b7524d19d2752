/**
 * Beginning a start in the script that takes its job: the move to `dispatching`, of a job that nothing but its host's
 * limits keeps from its first start. So a start takes two scripts in place of three; for all other jobs the worker decides,
 * and makes the move by itself (`jobs/transition.ts`, which says what belongs to a move).
 *
 * Only for agents that know a start by its token: if the reply of the take is lost, nothing was sent, and nobody knows.
 */
import type { JobRequest } from '../../job/record.ts';
import { ANNOUNCE_LUA } from '../feed.ts';
import { OWN_TOKEN } from '../jobs/codec.ts';
import { EVENT_LUA } from '../jobs/events.ts';

/** With what a job begins. */
export interface Beginning {
  /** The agent's, as it said at its last ping. */
  store_id: string;
  why: string;
}

/**
 * Whether the worker has to look at a field before it begins a job: always where it is there (see `USUAL`), or where it has
 * one value. What the deadline for the start is, the index of deadlines says.
 */
const LOOKED_AT = {
  ...{ id: false, target_server: false, host: false, command: false, job_user: false },
  ...{ timeout_seconds: false },
  ...{ start_deadline_seconds: false, lost_after_seconds: false, poll_interval: false, not_before: false },
  ...{ priority: false, labels: false, on_ambiguous_start: false, retry: false, callback_url: false },
  ...{ created_by: false, created_at: false, traceparent: false, batch_index: false, idempotency: false },
  ...{ unique_key: true, batch_id: true, sealed_env: true, shell: true, workdir: true, leftovers: true },
  mode: 'tmux',
} as const satisfies Record<keyof JobRequest, boolean | string>;

/** As they stand in a request's text: a text within it has other quotes. */
const SIGNS = Object.entries(LOOKED_AT).flatMap(([field, looked]) => {
  if (looked === false) return [];
  return looked === true ? `'"${field}":'` : `'"${field}":"${looked}"'`;
});

/** What is the same of all that begin: fields and values in turn. */
const BEGUN = [
  ...['state', 'dispatching', 'version', '2', 'attempt', '1'],
  ...['started_by', 'full', 'agent_job_id', OWN_TOKEN],
];

/**
 * Lua, for scripts with KEYS 5 active jobs, 9 deadlines 10 endpoints 11 stream 12-13 indexes of `queued` and
 * `dispatching`, and ARGV 1 host 8 what marks the move 13 store id or "" (nothing is begun) 14 why 15 channel:
 * `begin(place, key, request, hash, now)` moves a job if it may, and returns whether it did.
 */
export const BEGIN_LUA = `${EVENT_LUA}${ANNOUNCE_LUA}
local SIGNS = {${SIGNS.join(', ')}}
local function begin(place, key, request, hash, now)
  if ARGV[13] == '' or not request then return false end
  -- As it was accepted: its state, its version and its first event.
  local is = {}
  for i = 1, #hash, 2 do is[hash[i]] = hash[i + 1] end
  if #hash ~= 6 or is.state ~= 'queued' or is.version ~= '1' or not is['1'] then return false end
  for _, sign in ipairs(SIGNS) do
    if request:find(sign, 1, true) then return false end
  end
  local id = id_at(place)
  local by = redis.call('ZSCORE', KEYS[9], id)
  if not by or tonumber(by) <= now then return false end
  -- Somebody is to be told of every move: what they are told is written where all other moves are.
  if redis.call('EXISTS', KEYS[10]) == 1 then return false end
  redis.call('HSET', key, 'move', ARGV[8], 'store_id', ARGV[13], 'dispatched_at', now,
    2, event_text('dispatching', now, ARGV[14]), ${BEGUN.map((text) => `'${text}'`).join(', ')})
  redis.call('ZREM', KEYS[12], id)
  redis.call('ZADD', KEYS[13], 0, id)
  redis.call('ZADD', KEYS[5], 0, id)
  redis.call('ZREM', KEYS[9], id)
  announce(KEYS[11], ARGV[15], id, 2, 'dispatching', ARGV[1], caller_at(place), 'job.dispatching')
  return true
end
`;

/** What `begin` has set in the hash of a job by then, beside its events: fields and values in turn. @param at when */
export function begunHash({ store_id }: Beginning, at: number): string[] {
  return [...BEGUN, 'store_id', store_id, 'dispatched_at', `${at}`];
}
