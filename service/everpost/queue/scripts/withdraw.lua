-- Takes a job out of its queue, unless a worker holds it. A note prevents that it is enqueued again while the note lives.
-- KEYS: the withdrawals, then the queues it may be in.  ARGV: id, life of the note in ms.
-- Answers 1 if the job can no longer run, 0 if it is running.
local id = ARGV[1]
if redis.call('EXISTS', 'arq:in-progress:' .. id) == 1 then
  return 0
end
redis.call('DEL', 'arq:job:' .. id, 'arq:retry:' .. id) -- first: after a DEL a full Redis refuses no write of a script
redis.call('SET', 'everpost:withdrawn:' .. id, '1', 'PX', ARGV[2])
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
return 1
