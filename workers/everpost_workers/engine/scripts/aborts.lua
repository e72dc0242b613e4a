-- Finds abort requests for a worker's jobs, and forgets old requests for jobs that do not exist.
--
-- KEYS  1 abort set
-- ARGV  1 age at which a request without a job is forgotten (ms), 2.. ids of the jobs this worker runs
-- Returns those of the ids that have a request. A request is removed with its job, not here: this answer may get lost.
local JOB, HELD = 'arq:job:', 'arq:in-progress:'
if redis.call('ZCARD', KEYS[1]) == 0 then
  return {}
end
local clock = redis.call('TIME')
local oldest = clock[1] * 1000 - tonumber(ARGV[1])
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', oldest, 'BYSCORE', 'LIMIT', 0, 100)) do
  if redis.call('EXISTS', JOB .. id, HELD .. id) == 0 then
    redis.call('ZREM', KEYS[1], id)
  end
end
local reply = {}
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    reply[#reply + 1] = ARGV[i]
  end
end
return reply
