-- Finds tasks whose jobs Redis has lost, or would run too late.
--
-- ARGV  1 a msgpack list (cheaper to write than as many arguments) with three elements for each task: its id, its queue,
--       its due time (ms; 0 means at once)
--       2 the caller's time (ms)
-- Answers 1 for each such task, else 0. A job that would run long after its due time counts, because a clock was set
-- back. A task that a worker holds does not count, nor does one that waits in a lane (gate.lua).
local PUT_OFF = 60000
local UNBOUNDED_LEASE = 15000 -- neither we nor arq write a lease without an expiry
local now = redis.call('TIME')[1] * 1000
local ahead = now - tonumber(ARGV[2])
local tasks = cmsgpack.unpack(ARGV[1])

local function waits(id, queue, due)
  local score = tonumber(redis.call('ZSCORE', queue, id))
  return score and score <= math.max(now, due + ahead) + PUT_OFF and redis.call('EXISTS', 'arq:job:' .. id) == 1
end

local PARKED = 'everpost:parked:'
local function is_parked(id)
  local lane = redis.pcall('HGET', 'everpost:parked', id)
  return type(lane) == 'string' and tonumber(redis.pcall('ZSCORE', lane, id)) ~= nil
    and redis.pcall('HEXISTS', 'everpost:lanes', string.sub(lane, #PARKED + 1)) == 1
    and redis.call('EXISTS', 'arq:job:' .. id) == 1
end

local function is_held(id)
  local ttl = redis.call('PTTL', 'arq:in-progress:' .. id)
  if ttl == -1 then
    redis.call('PEXPIRE', 'arq:in-progress:' .. id, UNBOUNDED_LEASE)
  end
  return ttl ~= -2
end

local answers = {}
for i = 1, #tasks, 3 do
  local id = tasks[i]
  answers[#answers + 1] = (waits(id, tasks[i + 1], tasks[i + 2]) or is_parked(id) or is_held(id)) and 0 or 1
end
return answers
