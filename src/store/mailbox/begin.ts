/**
 * Beginning a start in the script that takes its job: the move to `dispatching`, of a job that nothing but its host's
 * limits keeps from its first start. It costs a start one of its three scripts; for all other jobs the worker decides,
 * and makes the move by itself (`jobs/transition.ts`, which says what belongs to a move).
 *
 * Only for agents that know a start by its token: if the reply of the take is lost, nothing was sent, and nobody knows.
 */
import { ANNOUNCE_LUA } from '../feed.ts';
import { OWN_TOKEN } from '../jobs/codec.ts';
import { EVENT_LUA } from '../jobs/events.ts';

/** With what a job begins. */
export interface Beginning {
  /** The agent's, as it said at its last ping. */
  store_id: string;
  why: string;
}

/** What a request says only where more than the host's limits decides whether and how its job starts. */
const DECIDED_BY_WORKER = ['unique_key', 'batch_id', 'sealed_env', 'shell', 'workdir', 'leftovers'].map(
  (field) => `'"${field}":'`,
);

/**
 * Lua, for scripts with KEYS 5 active jobs, 9 deadlines 10 endpoints 11 stream 12-13 indexes of `queued` and
 * `dispatching`, and ARGV 1 host 8 what marks the move 13 store id or "" (nothing is begun) 14 why 15 channel:
 * `begin(place, key, request, hash, now)` moves a job if it may, and returns whether it did.
 */
export const BEGIN_LUA = `${EVENT_LUA}${ANNOUNCE_LUA}
local DECIDED_BY_WORKER = {${DECIDED_BY_WORKER.join(', ')}, '"mode":"tmux"'}
local function begin(place, key, request, hash, now)
  if ARGV[13] == '' or not request then return false end
  -- As it was accepted: its state, its version and its first event.
  local is = {}
  for i = 1, #hash, 2 do is[hash[i]] = hash[i + 1] end
  if #hash ~= 6 or is.state ~= 'queued' then return false end
  for _, field in ipairs(DECIDED_BY_WORKER) do
    if request:find(field, 1, true) then return false end
  end
  local id = id_at(place)
  local by = redis.call('ZSCORE', KEYS[9], id)
  if not by or tonumber(by) <= now then return false end
  -- Somebody is to be told of every move: what they are told is written where all other moves are.
  if redis.call('EXISTS', KEYS[10]) == 1 then return false end
  redis.call('HSET', key, 'state', 'dispatching', 'version', 2, 'move', ARGV[8], 'attempt', 1, 'started_by', 'full',
    'store_id', ARGV[13], 'agent_job_id', '${OWN_TOKEN}', 'dispatched_at', now,
    2, event_text('dispatching', now, ARGV[14]))
  redis.call('ZREM', KEYS[12], id)
  redis.call('ZADD', KEYS[13], 0, id)
  redis.call('ZADD', KEYS[5], 0, id)
  redis.call('ZREM', KEYS[9], id)
  announce(KEYS[11], ARGV[15], id, 2, 'dispatching', ARGV[1], caller_at(place), 'job.dispatching')
  return true
end
`;

/** What the hash of a job holds by then that was begun at `at`, beside its events: fields and values in turn. */
export function begunHash({ store_id }: Beginning, at: number): string[] {
  const start = ['attempt', '1', 'started_by', 'full', 'store_id', store_id, 'agent_job_id', OWN_TOKEN];
  return ['state', 'dispatching', 'version', '2', ...start, 'dispatched_at', `${at}`];
}
