-- Put jobs into their queues like arq's enqueue_job, but many at once and without an expiry.
-- KEYS: wake channel.  ARGV: the caller's time in ms, then for each job its id, queue, due time in ms ("" means at once),
-- payload.
-- Answers 1 for each job that is in a queue now, 0 for each that was withdrawn or has ended.
-- "At once" uses this server's clock, as claims do, so a host's wrong clock delays no job. A due time is moved by the
-- difference of the clocks, unless it is so small that the call's way explains it.
-- Where possible, one command serves many jobs, because each call costs as much as its work. It follows telling.lua.
local GROUP = 250 -- jobs
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local SMALL = 1000 -- ms
local ahead = now - tonumber(ARGV[1])
if math.abs(ahead) < SMALL then
  ahead = 0
end
local answers = {}
local LONGEST_WITHDRAWAL = 60000 -- ms; a withdrawal's note lives for half of that (service/everpost/task/model.py)

local function is_withdrawn(id)
  local ttl = redis.call('PTTL', 'everpost:withdrawn:' .. id)
  if ttl == -1 or ttl > LONGEST_WITHDRAWAL then
    redis.call('DEL', 'everpost:withdrawn:' .. id) -- Everpost writes no note that lives so long
    return false
  end
  return ttl ~= -2
end

-- A task that is in a lane stays there, unless nothing waits for the lane: then it leaves it (gate.lua).
local PARKED = 'everpost:parked:'
local function is_parked(id)
  local lane = redis.pcall('HGET', 'everpost:parked', id)
  if type(lane) ~= 'string' or not tonumber(redis.pcall('ZSCORE', lane, id)) then
    return false
  elseif redis.pcall('HEXISTS', 'everpost:lanes', string.sub(lane, #PARKED + 1)) == 1 then
    return true
  end
  redis.call('ZREM', lane, id)
  redis.call('HDEL', 'everpost:parked', id)
  return false
end

local accepted -- the ids of jobs that are new, if readers of events want them

local function put(first, last)
  local rare, new = { STATE }, {} -- keys that rarely exist, so that one call looks for all of them
  for i = first, last, 4 do
    local n = #rare
    rare[n + 1], rare[n + 2] = 'arq:result:' .. ARGV[i], 'everpost:withdrawn:' .. ARGV[i]
  end
  local found = redis.call('EXISTS', unpack(rare))
  if found > 0 and is_heard() then
    accepted, found = accepted or {}, found - 1
  end
  local any_over = found > 0
  for i = first, last, 4 do
    local id, queue, due, payload = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
    local score = due and due + ahead or now
    if any_over and (redis.call('EXISTS', 'arq:result:' .. id) == 1 or is_withdrawn(id)) then
      answers[#answers + 1] = 0
    else
      if redis.call('SET', 'arq:job:' .. id, payload, 'NX') then
        new[queue] = new[queue] or {}
        local n = #new[queue]
        new[queue][n + 1], new[queue][n + 2] = score, id
        if accepted then
          accepted[#accepted + 1] = id
        end
      elseif redis.call('EXISTS', 'arq:in-progress:' .. id) == 0 and not is_parked(id) then
        redis.call('ZADD', queue, 'LT', score, id)
      end
      answers[#answers + 1] = 1
    end
  end
  for queue, entries in pairs(new) do
    redis.call('ZADD', queue, unpack(entries))
  end
end

for first = 2, #ARGV, 4 * GROUP do
  put(first, math.min(first + 4 * GROUP, #ARGV + 1) - 4)
end
if accepted then
  tell('accepted', accepted, now)
end
redis.pcall('PUBLISH', KEYS[1], '') -- a user may be given no channels: then workers poll
return answers
