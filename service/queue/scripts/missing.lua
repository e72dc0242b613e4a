-- Which tasks has Redis lost, or put off?  ARGV: for each task its id, its queue and when it is due in ms ("" is at once).
-- Answers 1 for each that is, else 0.  It is put off if it waits for long after it is due: a clock was set back.
local PUT_OFF = 60000
local now = redis.call('TIME')[1] * 1000

local function waits(id, queue, due)
  local score = tonumber(redis.call('ZSCORE', queue, id))
  return score and (score <= math.max(now, due) + PUT_OFF or redis.call('EXISTS', 'arq:in-progress:' .. id) == 1)
end

local answers = {}
for i = 1, #ARGV, 3 do
  local id, queue, due = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]) or 0
  local here = redis.call('EXISTS', 'arq:result:' .. id) == 1
    or (redis.call('EXISTS', 'arq:job:' .. id) == 1 and waits(id, queue, due))
  answers[#answers + 1] = here and 0 or 1
end
return answers
