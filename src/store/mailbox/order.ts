/**
 * The order in which a host's jobs start: higher priorities first; within one the callers take turns (start-time fair
 * queueing: a job's turn is its caller's last one plus one, but never before the turn that is being served), so one
 * caller's flood does not hold up another's single job. Every eighth start goes to the priority that was served longest
 * ago, so that a flood of urgent jobs starves nobody.
 */

/** One start of so many goes to the priority served longest ago. */
const NO_STARVING = 8;

/**
 * Lua, for scripts with KEYS 2 ready 3 turns 5 active jobs and `PLACES_LUA`; `count` is how many starts had a turn:
 * `is_active(place)`; `line_up(place)` gives a place its score in the ready set; `next_up(count)` returns the place that
 * starts next and its score; `mark_served(place, score, count)` notes that it does, and returns the new count.
 */
export const ORDER_LUA = `
local LEVEL = 2 ^ 40
local function is_active(place) return redis.call('ZSCORE', KEYS[5], id_at(place)) end

local function line_up(place)
  local level, again = place:sub(1, 1), 'again:' .. id_at(place)
  -- Its start is under way and unsettled: before all others, and it has its place among the active jobs.
  if is_active(place) then
    redis.call('HDEL', KEYS[3], again)
    return redis.call('ZADD', KEYS[2], -1, place)
  end
  local caller = 'last:' .. level .. caller_at(place)
  local seen = redis.call('HMGET', KEYS[3], 'served:' .. level, caller, again)
  local turn = tonumber(seen[1] or 0)
  if seen[3] then
    redis.call('HDEL', KEYS[3], again)
  else
    turn = math.max(turn, tonumber(seen[2] or 0))
    redis.call('HSET', KEYS[3], caller, turn + 1)
  end
  redis.call('ZADD', KEYS[2], (9 - tonumber(level)) * LEVEL + turn, place)
end

local function head_of(level)
  local from = (9 - level) * LEVEL
  return redis.call('ZRANGEBYSCORE', KEYS[2], from, '(' .. (from + LEVEL), 'WITHSCORES', 'LIMIT', 0, 1)
end

local function served_longest_ago()
  local found, oldest
  for level = 9, 0, -1 do
    local head = head_of(level)
    if head[1] then
      local at = tonumber(redis.call('HGET', KEYS[3], 'at:' .. level) or 0)
      if not oldest or at < oldest then found, oldest = head, at end
    end
  end
  return found
end

local function next_up(count)
  local head = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  if count % ${NO_STARVING} ~= ${NO_STARVING - 1} or not head[1] or tonumber(head[2]) < 0 then return head end
  local last = redis.call('ZRANGE', KEYS[2], -1, -1)
  -- All of one priority, as mostly.
  if last[1]:sub(1, 1) == head[1]:sub(1, 1) then return head end
  return served_longest_ago()
end

local function mark_served(place, score, count)
  if score < 0 then return count end
  local level = place:sub(1, 1)
  count = count + 1
  redis.call('HSET', KEYS[3], 'count', count, 'at:' .. level, count,
    'served:' .. level, score - (9 - tonumber(level)) * LEVEL)
  return count
end
`;
