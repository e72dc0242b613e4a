-- Takes a job out of its queue, unless a worker holds it. A note prevents that it is enqueued again while the note lives.
-- KEYS: the withdrawals, then the queues it may be in.
-- ARGV: id, life of the note in ms, and a token of the caller's for a job that will come back (requeue.lua).
-- Answers 1 if the job can no longer run, 0 if it is running. For a job that will come back it answers -1 if another caller
-- has it out, and if it is out now, 1 more than the number of its claims that were counted.
local LONGEST_WITHDRAWAL = 60000 -- ms, as in enqueue.lua
local id, token = ARGV[1], ARGV[3]
local note = 'everpost:withdrawn:' .. id
if redis.call('EXISTS', 'arq:in-progress:' .. id) == 1 then
  return 0
end
if token then
  local ttl = redis.call('PTTL', note)
  if ttl > 0 and ttl <= LONGEST_WITHDRAWAL and redis.pcall('GET', note) ~= token then
    return -1
  end
  redis.call('DEL', 'arq:job:' .. id) -- its tries stay: they show whether a worker had it and never reported
else
  redis.call('DEL', 'arq:job:' .. id, 'arq:retry:' .. id) -- first: after a DEL a full Redis refuses no write of a script
end
redis.call('SET', note, token or '1', 'PX', ARGV[2])
local clock = redis.call('TIME')
redis.call('ZADD', KEYS[1], clock[1] * 1000 + math.floor(clock[2] / 1000), id) -- for the relay, if the caller dies before the ledger knows
local lane = redis.pcall('HGET', 'everpost:parked', id) -- it may wait outside its queue: see gate.lua
if type(lane) == 'string' then
  redis.pcall('ZREM', lane, id)
  redis.call('HDEL', 'everpost:parked', id)
end
for i = 2, #KEYS do
  redis.call('ZREM', KEYS[i], id)
end
if token then
  local tries = redis.pcall('GET', 'arq:retry:' .. id)
  return 1 + math.max(type(tries) == 'string' and tonumber(tries) or 0, 0)
end
return 1
