/**
 * The course of a batch: what every change of one of its jobs means for it. All scripts that touch a batch share this
 * text, so that its counts, its limits and its state change together with the job, or not at all, and a process that dies
 * leaves nothing to make up for.
 *
 * Invariants: the counts add up to the total; nothing is made or sent to a host but in the state `running`, within
 * `max_parallel` and the wave; a limit that is crossed ends that in the very script that crosses it.
 */

import { KEPT_MS } from '../jobs/kept.ts';
import type { Keys } from '../keys.ts';
import { MARKS_LUA } from './marks.ts';

/** How soon a batch is looked at again whose jobs wait for their hosts, in ms: hosts go down and come back untold. */
const LOOK_MS = 2_000;
/** Of more waiting jobs than so many on hosts that are away, ... */
const MANY = 200;
/** ... how long their number is believed, in ms. */
const BELIEVED_MS = 250;

/** The keys of a batch, in the order in which `batch_at` expects them. */
export function courseKeys(keys: Keys, id: string): string[] {
  return [
    keys.batch(id),
    keys.batchMarks(id),
    keys.batchWaiting(id),
    keys.batchStarting(id),
    keys.batchHeld(id),
    keys.hostsIn('down'),
    keys.hostsIn('misconfigured'),
    keys.hostsIn('draining'),
    keys.batchesDue,
    keys.batchesExpiring,
    keys.batchesOpen,
    keys.events,
    keys.outbox,
    keys.endpoints,
    // Its channel, declared as the keys are.
    keys.changes,
  ];
}

/**
 * Lua:
 * `batch_at(first, id)`: the batch whose keys begin at KEYS[first];
 * `batch_count(b, index, host, from, to)`: one target's job went from one state to another; false: it has none;
 * `batch_announce(b, now, type, state, version)`: tells an event of it; `b.told` where webhooks may have to;
 * `batch_settle(b, now, changed)`: draws the conclusions. Returns the state, how many jobs may be made now, how many
 * may be on hosts besides those that are, 1 if somebody must be woken to go on with it, and how many of the held ones
 * there is room for; nil where there is no record.
 */
export const COURSE_LUA = `${MARKS_LUA}
local function batch_at(first, id)
  local b = {id = id}
  for i, name in ipairs({'hash', 'marks', 'waiting', 'starting', 'held', 'down', 'misconfigured', 'draining', 'due', 'expiring', 'open', 'events',
    'outbox', 'endpoints', 'channel'}) do
    b[name] = KEYS[first + i - 1]
  end
  return b
end

local function batch_count(b, index, host, from, to)
  if redis.call('EXISTS', b.hash) == 0 then return end
  if from and from ~= 'withdrawn' then redis.call('HINCRBY', b.hash, 'n:' .. from, -1) end
  if to ~= 'withdrawn' then redis.call('HINCRBY', b.hash, 'n:' .. to, 1) end
  redis.call('SETRANGE', b.marks, index, MARKS[to])
  local is_away = redis.call('ZSCORE', b.down, host) or redis.call('ZSCORE', b.misconfigured, host)
  if from == 'queued' then
    if is_away then redis.call('HINCRBY', b.hash, 'away', -1) end
    redis.call('SREM', b.waiting, host)
    redis.call('SREM', b.held, index)
  elseif from == 'dispatching' then
    redis.call('SREM', b.starting, host)
  end
  if to == 'queued' then redis.call('SADD', b.waiting, host) end
  if to == 'dispatching' then redis.call('SADD', b.starting, host) end
  -- Its host did not answer, or was drained: that is no failure of the command. A start on its way expires only where its
  -- reply was lost.
  if to == 'expired' and (from == 'dispatching' or is_away or redis.call('ZSCORE', b.draining, host)) then
    redis.call('HINCRBY', b.hash, 'expired_away', 1)
  end
end

-- How many of these hosts do not answer.
local function batch_away(b, hosts)
  return redis.call('ZINTERCARD', 2, hosts, b.down) + redis.call('ZINTERCARD', 2, hosts, b.misconfigured)
end

local function batch_announce(b, now, type, state, version)
  local seen = redis.call('HMGET', b.hash, 'owner', 'callback')
  redis.call('XADD', b.events, 'MAXLEN', '~', 100000, '*', 'id', b.id, 'version', version, 'state', state, 'host', '',
    'owner', seen[1], 'type', type)
  if seen[2] or redis.call('EXISTS', b.endpoints) == 1 then
    b.told = true
    redis.call('RPUSH', b.outbox,
      cjson.encode({id = b.id, version = version, type = type, at = now, hash = redis.call('HGETALL', b.hash)}))
  end
  redis.call('PUBLISH', b.channel, cjson.encode({b.id, version, state, '', seen[1], type}))
end

local function batch_settle(b, now, changed)
  local f, flat = {}, redis.call('HGETALL', b.hash)
  for i = 1, #flat, 2 do f[flat[i]] = flat[i + 1] end
  if not f.state then return end
  local function num(name) return tonumber(f[name] or 0) end
  local function n(state) return num('n:' .. state) end

  local state, stored_wave, told, set = f.state, f.wave, {}, {}
  local function note(field, value)
    f[field] = tostring(value)
    set[#set + 1], set[#set + 2] = field, value
  end
  local function waiting_away()
    -- To count costs as much as the smaller set is large: where many are away, what was counted just now is believed.
    if num('away') > ${MANY} and now - num('away_at') < ${BELIEVED_MS} then return num('away') end
    local counted = batch_away(b, b.waiting)
    if counted > ${MANY} or f.away then
      note('away', counted)
      note('away_at', now)
    end
    return counted
  end

  local queued, total, made = n('queued'), num('total'), num('made')
  local on_hosts = n('dispatching') + n('running') + n('canceling') + n('unreachable')
  local most = num('max_parallel')
  -- Not started, on hosts that do not answer: the first wait for them, the others were sent and had no answer.
  local away, stuck = 0, 0
  if num('max_unreachable') >= 0 or queued + on_hosts >= most or made >= num('wave_end') then
    if queued > 0 then away = waiting_away() end
    if n('dispatching') > 0 then stuck = batch_away(b, b.starting) end
  end
  local failures = n('failed') + n('timed_out') + n('lost') + n('expired') - num('expired_away')
  local unreachable = n('unreachable') + away + stuck + num('expired_away')

  -- Those that have come back since it was resumed must not make room for others.
  if num('failures_base') > failures then note('failures_base', failures) end
  if num('max_unreachable') >= 0 and num('unreachable_base') > unreachable then note('unreachable_base', unreachable) end
  local function become(new)
    if new == state then return end
    state = new
    note('state', new)
    note('state_at', now)
    told[#told + 1] = {type = 'batch.' .. new, state = new, wave = f.wave}
  end

  if state == 'running' or (state == 'paused' and f.on_limit ~= 'pause') then
    local crossed
    if num('max_failures') >= 0 and failures - num('failures_base') > num('max_failures') then
      crossed = 'max_failures'
    elseif num('max_unreachable') >= 0 and unreachable - num('unreachable_base') > num('max_unreachable') then
      crossed = 'max_unreachable'
    end
    if crossed then
      note('stopped_because', crossed)
      become(({stop = 'stopping', pause = 'paused', cancel = 'canceling'})[f.on_limit])
    end
  end

  if state == 'running' and made < total and made >= num('wave_end') and not f.held_for
    and queued + on_hosts - n('unreachable') == 0 then
    if f.wave_done ~= f.wave then
      note('wave_done', f.wave)
      told[#told + 1] = {type = 'batch.wave_done', state = state, wave = f.wave}
      if num('wave_pause_ms') < 0 then
        note('awaits_wave', 1)
        become('paused')
      else
        note('next_wave_at', now + num('wave_pause_ms'))
      end
    end
    if state == 'running' and now >= num('next_wave_at') then
      local sizes = cjson.decode(f.waves)
      note('wave', num('wave') + 1)
      note('wave_end', math.min(total, num('wave_end') + sizes[math.min(num('wave'), #sizes)]))
      note('next_wave_at', 0)
    end
  end

  if queued + on_hosts == 0 then
    if state == 'stopping' then
      become('stopped')
    elseif state == 'canceling' then
      become(f.stopped_because and 'stopped' or 'canceled')
    elseif made == total and (state == 'running' or state == 'paused' or state == 'succeeded' or state == 'failed') then
      -- Over already where a lost job was corrected.
      become(n('succeeded') == total and 'succeeded' or 'failed')
    end
  end
  local over = state == 'succeeded' or state == 'failed' or state == 'stopped' or state == 'canceled'
  if over and not f.ended_at then
    note('ended_at', now)
    redis.call('ZREM', b.open, b.id)
    redis.call('ZADD', b.expiring, now + ${KEPT_MS}, b.id)
  end

  local room, places, held = 0, most - (on_hosts - stuck), redis.call('SCARD', b.held)
  if state == 'running' and not f.held_for then
    local idle = away
    if queued + on_hosts >= most then idle = away + redis.call('ZINTERCARD', 2, b.waiting, b.draining) end
    room = math.max(0, math.min(num('wave_end') - made, places - math.max(0, queued - idle)))
  end
  -- What was let go is on its way, and counts: else all of the held ones would be let go for one place.
  local free = math.min(held, math.max(0, places - math.max(0, queued - away - held)))
  local due
  if over then
    due = nil
  elseif room > 0 or (state == 'stopping' or state == 'canceling') and queued > 0
    or state == 'canceling' and on_hosts > n('canceling')
    or state == 'running' and free > 0 then
    due = now
  elseif state == 'running' and num('next_wave_at') > 0 then
    due = num('next_wave_at')
  elseif state == 'running' and (queued + n('dispatching') > 0 or f.held_for) or state == 'paused' and queued > 0 then
    due = now + ${LOOK_MS}
  end
  if not due then
    redis.call('ZREM', b.due, b.id)
  elseif due <= now then
    -- Not later than it was: whoever should have gone on may be dead, and with every change of a busy batch the sweep
    -- would have to wait anew.
    redis.call('ZADD', b.due, 'LT', due, b.id)
  else
    redis.call('ZADD', b.due, due, b.id)
  end
  local wake = 0
  if due and due <= now and not f.awake then
    note('awake', 1)
    wake = 1
  end

  if #set > 0 then redis.call('HSET', b.hash, unpack(set)) end
  -- Each under a version of its own: who has heard of one version ignores another of the same. A wave that is done is
  -- told as that wave, though the next one has begun.
  for _, event in ipairs(told) do
    local version = redis.call('HINCRBY', b.hash, 'version', 1)
    redis.call('HSET', b.hash, 'state', event.state, 'wave', event.wave)
    stored_wave = event.wave
    batch_announce(b, now, event.type, event.state, version)
  end
  if stored_wave ~= f.wave then redis.call('HSET', b.hash, 'wave', f.wave) end
  if changed and #told == 0 or stored_wave ~= f.wave then
    local version = redis.call('HINCRBY', b.hash, 'version', 1)
    redis.call('PUBLISH', b.channel, cjson.encode({b.id, version, state, '', f.owner, 'batch.changed'}))
  end
  return state, room, places, wake, free
end
`;
