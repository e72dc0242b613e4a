-- Decides which claimed tasks may begin now; the others are to go into their lanes.
--
-- ARGV  2 msgpack list: task, lane, the latest time to begin (ms) or 0, task, ...
-- Returns nothing if Redis has lost the limits. Otherwise a list with one entry for each task: 0 if it begins, which is
-- counted from now on, else {kind, scope, until when (ms) or ""}.
--
-- A task that was let out of its lane begins before all others. Any other task waits behind those that wait already.
if redis.call('HEXISTS', LIMITS, 'version') == 0 then
  return false
end

local function forget_coming(scope, id)
  return redis.call('ZREM', COMING .. scope, id) == 1
end

local function refusal_by(scope, id, was_let_out)
  local kind, until_ms = refusal_of(scope, id)
  if not kind and not was_let_out and (limits_of(scope) or closure_of(scope)) and redis.call('EXISTS', BEHIND .. scope) == 1 then
    return 'turn', now
  end
  return kind, until_ms
end

local function keep_use(scope, limits)
  local uses = USES .. scope
  redis.call('LPUSH', uses, text(now))
  redis.call('LTRIM', uses, 0, limits.most - 1)
  redis.call('PEXPIRE', uses, text(limits.memory))
end

local function begin(scope, id)
  if closure_of(scope) then
    redis.call('ZADD', TRIALS .. scope, text(now + math.max(lease_of(id), 1)), id)
  end
  local limits = limits_of(scope)
  if not limits then
    return
  end
  if limits.concurrency then
    redis.call('ZADD', PERMITS .. scope, text(now + math.max(lease_of(id), 1)), id)
  end
  if limits.memory then
    keep_use(scope, limits)
  end
  local ends = limits.daily and day_end(limits.zone)
  if ends then
    redis.call('HSET', DAY .. scope, 'ends', text(ends), 'used', used_today(scope, ends) + 1)
    redis.call('PEXPIREAT', DAY .. scope, text(ends + 1000))
  end
end

local function decide(id, lane)
  local scopes = scopes_of(lane)
  local let_out = {}
  for _, scope in ipairs(scopes) do
    let_out[scope] = forget_coming(scope, id)
  end
  for _, scope in ipairs(scopes) do
    local kind, until_ms = refusal_by(scope, id, let_out[scope])
    if kind then
      for _, each in ipairs(scopes) do
        redis.call('ZREM', PERMITS .. each, id)
        redis.call('ZREM', TRIALS .. each, id)
      end
      put_behind(lane, scope, kind ~= 'turn' and kind, until_ms)
      return { kind, scope, until_ms and text(until_ms) or '' }
    end
  end
  for _, scope in ipairs(scopes) do
    begin(scope, id)
  end
  return 0
end

local reply = {}
local tasks = cmsgpack.unpack(ARGV[2])
for i = 1, #tasks, 3 do
  local id, lane, late = tasks[i], tasks[i + 1], tasks[i + 2]
  local where = redis.call('HGET', INDEX, id) -- its lane, if a copy of it waits there
  if where then
    redis.call('ZREM', where, id)
    redis.call('HDEL', INDEX, id)
  end
  local answer = decide(id, lane)
  if late > 0 and answer ~= 0 then
    redis.call('ZADD', LATE, text(math.max(late, now + LOOK_AGAIN)), id)
  end
  reply[#reply + 1] = answer
end
return reply
