-- What waits in the queues.
-- KEYS: the queues.
-- Answers the time in ms, then for each queue: its jobs that are due, its later jobs, its lowest score ("" if it is empty).
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local reply = { now }
for _, queue in ipairs(KEYS) do
  local n, due = #reply, redis.call('ZCOUNT', queue, '-inf', now)
  reply[n + 1], reply[n + 2] = due, redis.call('ZCARD', queue) - due
  reply[n + 3] = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2] or ''
end
return reply
