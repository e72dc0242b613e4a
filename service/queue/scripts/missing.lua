-- Which tasks has Redis lost?  ARGV: for each task its id and queue.  Answers 1 for each that is lost, else 0.
local answers = {}
for i = 1, #ARGV, 2 do
  local id, queue = ARGV[i], ARGV[i + 1]
  local here = redis.call('EXISTS', 'arq:result:' .. id) == 1
    or (redis.call('EXISTS', 'arq:job:' .. id) == 1 and redis.call('ZSCORE', queue, id))
  answers[#answers + 1] = here and 0 or 1
end
return answers
