-- Which tasks has Redis lost, or put off?
--
-- ARGV  1 a msgpack list (cheaper to write than as many arguments) with three elements for each task: its id, its queue,
--       when it is due (ms; 0 is at once)
-- Answers 1 for each that is, else 0.  It is put off if it waits for long after it is due: a clock was set back.
local PUT_OFF = 60000
local now = redis.call('TIME')[1] * 1000
local tasks = cmsgpack.unpack(ARGV[1])

local function waits(id, queue, due)
  local score = tonumber(redis.call('ZSCORE', queue, id))
  return score and (score <= math.max(now, due) + PUT_OFF or redis.call('EXISTS', 'arq:in-progress:' .. id) == 1)
end

local answers = {}
for i = 1, #tasks, 3 do
  local id = tasks[i]
  local here = (redis.call('EXISTS', 'arq:job:' .. id) == 1 and waits(id, tasks[i + 1], tasks[i + 2]))
    or redis.call('EXISTS', 'arq:result:' .. id) == 1
  answers[#answers + 1] = here and 0 or 1
end
return answers
