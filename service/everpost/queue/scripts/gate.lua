-- The rules of the gate. The other scripts `gate_*.lua` follow this text in one script (service/everpost/queue/gates.py).
--
-- KEYS  the queues, in the order of their priorities
-- ARGV  1 lease (ms)
--
-- A scope is `*` (everything), a platform, or a lane `PLATFORM/ACCOUNT`. A task whose lane, platform or everything is at a
-- limit waits in its lane: a sorted set by priority and score. Each lane waits behind one scope, the first that refuses it.
--
-- everpost:limits       hash: scope -> its limits (msgpack); `/PLATFORM` -> those of each account; `day:ZONE` -> midnights
-- everpost:gate         hash: the process of Redis that counts, from when on it admits tasks, whether it has all uses
-- everpost:parked       hash: task -> key of its lane (release.lua of the engine writes it)
-- everpost:parked:LANE  sorted set: the lane's tasks
-- everpost:late         sorted set: parked task -> when it is too late to begin (ms); only tasks that have such a limit
-- everpost:lanes        hash: lane -> the scope it waits behind
-- everpost:behind:SCOPE sorted set: the lanes behind a scope, by the turn in which each had a task admitted
-- everpost:openings     sorted set: scope -> when it may have room again (ms); infinite while it is held
-- everpost:why          hash: scope -> why it refused last, and until when
-- everpost:closed       hash: scope -> until when it is closed, because its platform answered "too fast"; then it is half open
-- everpost:passed       hash: scope -> how many trials have passed since it is half open
-- everpost:trials:S     sorted set: trial that runs -> until when its lease is known to last
-- everpost:permits:S    sorted set: task that runs -> until when its lease is known to last
-- everpost:coming:S     sorted set: task that was let out of its lane and has not begun -> when to look at it again
-- everpost:uses:S       list: when attempts began (ms), the newest first
-- everpost:day:S        hash: the end of the day (ms), and how many attempts began on it
local JOB, HELD = 'arq:job:', 'arq:in-progress:'
local LIMITS, GATE, INDEX, PARKED = 'everpost:limits', 'everpost:gate', 'everpost:parked', 'everpost:parked:'
local LATE, LANES, BEHIND, OPENINGS, WHY = 'everpost:late', 'everpost:lanes', 'everpost:behind:', 'everpost:openings', 'everpost:why'
local CLOSED, TURN, PERMITS = 'everpost:closed', 'everpost:turn', 'everpost:permits:'
local COMING, USES, DAY = 'everpost:coming:', 'everpost:uses:', 'everpost:day:'
local PASSED, TRIALS = 'everpost:passed', 'everpost:trials:'
local EVERYTHING = '*'
local LOOK_AGAIN = 1000 -- ms, at tasks that are coming, or late by another clock than that of the ledger
local PER_QUEUE = 1e13 -- a task's score in its lane is its own score, and this for each queue before its own
local lease = tonumber(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('DEL', 'everpost:none') -- a full Redis lets the writes below through: see put_small.lua

local function text(number)
  return string.format('%.0f', number)
end

-- When this Redis admits tasks, and whether it has all earlier uses. A Redis that was emptied or replaced knows nothing of
-- what runs: it is closed for one lease. In this time, workers that live report what they run; the others have lost it.
local function read_gate()
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local gate = redis.call('HMGET', GATE, 'run_id', 'opens_at', 'is_counted')
  if gate[1] == run_id and tonumber(gate[2]) then
    return run_id, tonumber(gate[2]), gate[3] == '1'
  end
  redis.call('HSET', GATE, 'run_id', run_id, 'opens_at', text(now + lease), 'is_counted', '0')
  return run_id, now + lease, false
end
local run_id, opens_at, is_counted = read_gate()
local is_rebuilding = now < opens_at or not is_counted

local known = {} -- limits by scope; false for a scope without any
local function limits_of(scope)
  if known[scope] == nil then
    local packed = redis.call('HGET', LIMITS, scope)
    local platform = not packed and string.match(scope, '^([^/]*)/')
    if platform then
      packed = redis.call('HGET', LIMITS, '/' .. platform)
    end
    known[scope] = packed and cmsgpack.unpack(packed)
  end
  return known[scope]
end

local function scopes_of(lane)
  return { lane, string.match(lane, '^[^/]*'), EVERYTHING }
end

local function lease_of(id)
  local ttl = redis.call('PTTL', HELD .. id)
  return ttl == -1 and lease or ttl -- without an expiry it is not Everpost's
end

-- The members of a set of permits or of coming tasks without `id`, and when the first must be looked at again.
local function count(key, id)
  local size = redis.call('ZCARD', key)
  if id and redis.call('ZSCORE', key, id) then
    size = size - 1
  end
  return size, tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
end

-- Permits end with the leases of their tasks, which the workers renew. A lease is looked at when it was due to end.
local function running(key, id)
  for _, old in ipairs(redis.call('ZRANGE', key, '-inf', now, 'BYSCORE')) do
    local ttl = lease_of(old)
    if ttl > 0 then
      redis.call('ZADD', key, 'XX', text(now + ttl + 1), old)
    else
      redis.call('ZREM', key, old)
    end
  end
  return count(key, id)
end

local function is_due(id)
  for _, queue in ipairs(KEYS) do
    local score = redis.call('ZSCORE', queue, id)
    if score then
      return tonumber(score) <= now
    end
  end
  return false
end

-- A coming task counts as long as it is in a queue, or held by a worker that has not asked yet.
local function coming(scope, id)
  local key = COMING .. scope
  for _, old in ipairs(redis.call('ZRANGE', key, '-inf', now, 'BYSCORE')) do
    if redis.call('EXISTS', HELD .. old) == 1 or is_due(old) then
      redis.call('ZADD', key, 'XX', text(now + LOOK_AGAIN), old)
    else
      redis.call('ZREM', key, old)
    end
  end
  return count(key, id)
end

-- The end of the present day in a zone; nil if it is not known, because no worker has told it lately.
local function day_end(zone)
  local midnights = redis.call('HGET', LIMITS, 'day:' .. zone)
  for _, midnight in ipairs(midnights and cmsgpack.unpack(midnights) or {}) do
    if midnight > now then
      return midnight
    end
  end
  return nil
end

local function used_today(scope, ends)
  local day = redis.call('HMGET', DAY .. scope, 'ends', 'used')
  return tonumber(day[1]) == ends and tonumber(day[2]) or 0
end

-- How many tasks a half open scope tries at once: one more for each that has passed; nothing once it is open.
local ENOUGH_PASSED = 8
local function trials_at_once(passed)
  return passed < ENOUGH_PASSED and passed + 1 or nil
end

-- Until when a scope is or was closed; nothing if it is open.
local function closure_of(scope)
  return tonumber(redis.call('HGET', CLOSED, scope) or nil)
end

local function open_whole(scope)
  redis.call('HDEL', CLOSED, scope)
  redis.call('HDEL', PASSED, scope)
  redis.call('DEL', TRIALS .. scope)
end

local function passed_trials(scope)
  return tonumber(redis.call('HGET', PASSED, scope) or nil) or 0
end

-- Until when a half open scope tries no more; nothing if it tries `id`.
local function trials_until(scope, id)
  local awaited, awaited_until = coming(scope, id)
  local used, until_ms = running(TRIALS .. scope, id)
  if used + awaited >= (trials_at_once(passed_trials(scope)) or math.huge) then
    return math.min(until_ms or awaited_until, awaited_until or until_ms)
  end
  return nil
end

-- Why a scope admits no task now, and until when (ms); nothing if it does. `id` itself does not count.
local function refusal_of(scope, id)
  local closed = closure_of(scope)
  if closed and closed > now then
    return 'rate_limited', closed
  end
  local limits = limits_of(scope)
  if limits and limits.hold then
    return limits.hold, nil
  end
  local trials_end = closed and trials_until(scope, id)
  if trials_end then
    return 'trial', trials_end
  elseif not limits or not (limits.concurrency or limits.rates or limits.gap or limits.daily) then
    return nil
  elseif is_rebuilding then
    return 'rebuilding', math.max(opens_at, now + 100)
  end
  local awaited, awaited_until = coming(scope, id)
  if limits.concurrency then
    local used, until_ms = running(PERMITS .. scope, id)
    if used + awaited >= limits.concurrency then
      return 'concurrency', math.min(until_ms or awaited_until, awaited_until or until_ms)
    end
  end
  for _, rate in ipairs(limits.rates or {}) do
    if awaited >= rate[1] then
      return 'rate', awaited_until
    end
    local at = tonumber(redis.call('LINDEX', USES .. scope, rate[1] - 1 - awaited) or nil)
    if at and at + rate[2] > now then
      return 'rate', at + rate[2]
    end
  end
  if limits.gap then
    if awaited > 0 then
      return 'gap', awaited_until
    end
    local at = tonumber(redis.call('LINDEX', USES .. scope, 0) or nil)
    if at and at + limits.gap > now then
      return 'gap', at + limits.gap
    end
  end
  if limits.daily then
    local ends = day_end(limits.zone)
    if not ends or used_today(scope, ends) + awaited >= limits.daily then
      return 'daily', ends or now + LOOK_AGAIN
    end
  end
  return nil
end

local function note_why(scope, kind, until_ms)
  redis.call('HSET', WHY, scope, kind .. ' ' .. (until_ms and text(until_ms) or ''))
end

local function next_turn()
  return redis.call('INCR', TURN)
end

-- Lets a lane wait behind a scope, which is looked at again at `until_ms` at the latest.
local function put_behind(lane, scope, kind, until_ms)
  local before = redis.call('HGET', LANES, lane)
  if before ~= scope then
    if before then
      redis.call('ZREM', BEHIND .. before, lane)
    end
    redis.call('HSET', LANES, lane, scope)
    redis.call('ZADD', BEHIND .. scope, next_turn(), lane)
  end
  redis.call('ZADD', OPENINGS, 'LT', until_ms and text(until_ms) or '+inf', scope)
  if kind then
    note_why(scope, kind, until_ms)
  end
end
