-- Takes back permits, and lets out of their lanes as many tasks as there is room for, and those that are too late to begin.
--
-- ARGV  2 wake channel, 3 most tasks to let out, 4 msgpack map of lists:
--         back: task, lane, ... of those that a worker no longer runs
--         held: task, lane, ... of those that a worker runs, in case Redis has lost them
--         parked: lanes that have got tasks
--         closed: scope, ms, ... of those that are to admit no task for some time
-- Returns nothing if Redis has lost the limits, else {tasks let out, 1 if there are more, 1 if tasks wait in lanes,
--         ms until the next opening or -1, 1 if what runs is to be reported, 1 if earlier uses are to be told,
--         version of the limits, now (ms), scope, until when it is or was closed (ms), ...} with the scopes that are closed or half open
if redis.call('HEXISTS', LIMITS, 'version') == 0 then
  return false
end
local channel, most = ARGV[2], tonumber(ARGV[3])
local told = cmsgpack.unpack(ARGV[4])

local function open_now(scope)
  if redis.call('EXISTS', BEHIND .. scope) == 1 then
    redis.call('ZADD', OPENINGS, text(now), scope)
  end
end

-- A trial that ended without another answer "too fast" has passed: a new closure forgets the trials.
local function note_passed(scope, id)
  if redis.call('ZREM', TRIALS .. scope, id) == 1 and closure_of(scope) then
    if not trials_at_once(redis.call('HINCRBY', PASSED, scope, 1)) then
      open_whole(scope)
    end
  end
end

local function take_back(id, lane)
  local is_held = redis.call('EXISTS', HELD .. id) == 1 -- claimed again meanwhile: the new claim has the permit
  for _, scope in ipairs(scopes_of(lane)) do
    if not is_held then
      redis.call('ZREM', PERMITS .. scope, id)
      note_passed(scope, id)
    end
    open_now(scope)
  end
end

local function count_again(id, lane)
  for _, scope in ipairs(scopes_of(lane)) do
    local limits = limits_of(scope)
    if limits and limits.concurrency and not redis.call('ZSCORE', PERMITS .. scope, id) then
      local ttl = lease_of(id)
      redis.call('ZADD', PERMITS .. scope, text(now + (ttl > 0 and ttl or lease)), id)
    end
  end
end

local function note_parked(lane)
  local scope = redis.call('HGET', LANES, lane)
  if scope and redis.call('ZSCORE', BEHIND .. scope, lane) then
    open_now(scope)
  elseif redis.call('EXISTS', PARKED .. lane) == 1 then
    redis.call('HDEL', LANES, lane)
    put_behind(lane, lane, nil, now)
  end
end

-- Other programs may remove keys without a trace. A lane that no scope would open is found within some turns.
local LOOKED_AT = 5 -- lanes, chosen at random
local function look_after_lanes()
  for _, lane in ipairs(redis.call('HRANDFIELD', LANES, LOOKED_AT)) do
    local scope = redis.call('HGET', LANES, lane)
    if not redis.call('ZSCORE', BEHIND .. scope, lane) or not redis.call('ZSCORE', OPENINGS, scope) then
      note_parked(lane)
    end
  end
end

local function close(scope, ms)
  local until_ms = math.max(now + ms, closure_of(scope) or 0)
  open_whole(scope)
  redis.call('HSET', CLOSED, scope, text(until_ms))
end

local function forget_lane(lane, scope)
  redis.call('ZREM', BEHIND .. scope, lane)
  redis.call('HDEL', LANES, lane)
end

-- The first scope other than `scope` that refuses a lane.
local function other_refusal(lane, scope)
  for _, each in ipairs(scopes_of(lane)) do
    if each ~= scope then
      local kind, until_ms = refusal_of(each)
      if kind then
        return each, kind, until_ms
      end
    end
  end
  return nil
end

local function return_to_queue(id, where, score)
  redis.call('ZREM', where, id)
  redis.call('HDEL', INDEX, id)
  local number = math.min(math.max(math.floor(score / PER_QUEUE), 0), #KEYS - 1)
  redis.call('ZADD', KEYS[number + 1], 'NX', text(score - number * PER_QUEUE), id)
end

-- Returns tasks that are too late to begin, for a worker to end them; returns how many.
local function return_late(left)
  local out = 0
  for _, id in ipairs(redis.call('ZRANGE', LATE, '-inf', now, 'BYSCORE', 'LIMIT', 0, left)) do
    local where = redis.call('HGET', INDEX, id)
    local score = where and redis.call('ZSCORE', where, id)
    if score then
      return_to_queue(id, where, tonumber(score))
      out = out + 1
    end
    if not score and redis.call('EXISTS', HELD .. id) == 1 then
      redis.call('ZADD', LATE, text(now + LOOK_AGAIN), id) -- it is on the way into its lane
    else
      redis.call('ZREM', LATE, id)
    end
  end
  return out
end

local function let_out(lane, id, score)
  return_to_queue(id, PARKED .. lane, score)
  for _, scope in ipairs(scopes_of(lane)) do
    if limits_of(scope) or closure_of(scope) then
      redis.call('ZADD', COMING .. scope, text(now + LOOK_AGAIN), id)
    end
  end
end

-- Lets tasks out of the lanes behind a scope, one of each lane in turn, until it refuses; returns how many.
local function open(scope, left)
  local out = 0
  while out < left do
    local lane = redis.call('ZRANGE', BEHIND .. scope, 0, 0)[1]
    if not lane then
      redis.call('ZREM', OPENINGS, scope)
      redis.call('HDEL', WHY, scope)
      break
    end
    local kind, until_ms = refusal_of(scope)
    if kind then
      redis.call('ZADD', OPENINGS, until_ms and text(until_ms) or '+inf', scope)
      note_why(scope, kind, until_ms)
      break
    end
    local other, other_kind, other_until = other_refusal(lane, scope)
    local next_task = redis.call('ZRANGE', PARKED .. lane, 0, 0, 'WITHSCORES')
    if #next_task == 0 then
      forget_lane(lane, scope)
    elseif other then
      put_behind(lane, other, other_kind, other_until)
    else
      let_out(lane, next_task[1], tonumber(next_task[2]))
      redis.call('ZADD', BEHIND .. scope, next_turn(), lane)
      out = out + 1
    end
  end
  return out
end

for i = 1, #(told.back or {}), 2 do
  take_back(told.back[i], told.back[i + 1])
end
for i = 1, #(told.held or {}), 2 do
  count_again(told.held[i], told.held[i + 1])
end
for i = 1, #(told.closed or {}), 2 do
  close(told.closed[i], told.closed[i + 1])
end
for _, lane in ipairs(told.parked or {}) do
  note_parked(lane)
end

look_after_lanes()

local out, looks = return_late(most), 0
local due = redis.call('ZRANGE', OPENINGS, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1)[1]
while due and out < most and looks < most do
  out = out + open(due, most - out)
  looks = looks + 1
  due = redis.call('ZRANGE', OPENINGS, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1)[1]
end
if out > 0 and channel ~= '' then
  redis.pcall('PUBLISH', channel, 'let out') -- a user may be given no channels: then they poll
end

local late = tonumber(redis.call('ZRANGE', LATE, 0, 0, 'WITHSCORES')[2]) or math.huge
local opening = math.min(tonumber(redis.call('ZRANGE', OPENINGS, 0, 0, 'WITHSCORES')[2]) or math.huge, late)
local has_opening = opening < math.huge
local reply = {
  out, (due or late <= now) and 1 or 0, redis.call('EXISTS', LANES, INDEX) > 0 and 1 or 0,
  has_opening and math.max(opening - now, 0) or -1, is_rebuilding and 1 or 0,
  now >= opens_at and not is_counted and 1 or 0, tonumber(redis.call('HGET', LIMITS, 'version')) or 0, now,
}
-- A scope for which nothing waits or is tried stays half open for this time.
local HALF_OPEN = 600 * 1000 -- as in gates.py
local function is_idle(scope, until_ms)
  local is_old = (tonumber(until_ms) or 0) + HALF_OPEN < now
  return is_old and redis.call('EXISTS', BEHIND .. scope, PARKED .. scope, TRIALS .. scope, COMING .. scope) == 0
end
local closed = redis.call('HGETALL', CLOSED)
for i = 1, #closed, 2 do
  if is_idle(closed[i], closed[i + 1]) then
    open_whole(closed[i])
  else
    reply[#reply + 1] = closed[i]
    reply[#reply + 1] = closed[i + 1]
  end
end
return reply
