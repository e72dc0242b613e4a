-- Which tasks has Redis lost, or put off?
--
-- ARGV  1 a msgpack list (cheaper to write than as many arguments) with three elements for each task: its id, its queue,
--       when it is due (ms; 0 is at once)
-- Answers 1 for each that is, else 0.  It is put off if it waits for long after it is due: a clock was set back. What a
-- worker holds is left to it.
local PUT_OFF = 60000
local UNBOUNDED_LEASE = 15000 -- neither we nor arq write a lease without an expiry
local now = redis.call('TIME')[1] * 1000
local tasks = cmsgpack.unpack(ARGV[1])

local function waits(id, queue, due)
  local score = tonumber(redis.call('ZSCORE', queue, id))
  return score and score <= math.max(now, due) + PUT_OFF and redis.call('EXISTS', 'arq:job:' .. id) == 1
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
  answers[#answers + 1] = (waits(id, tasks[i + 1], tasks[i + 2]) or is_held(id)) and 0 or 1
end
return answers
