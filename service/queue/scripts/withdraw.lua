-- Take a job out of its queue, unless a worker holds it; nobody enqueues it again while the note of it stands.
-- KEYS: the queues it may be in.  ARGV: id, life of the note in ms.
-- Answers 1 if the job can no longer run, 0 if it is running.
local id = ARGV[1]
if redis.call('EXISTS', 'arq:in-progress:' .. id) == 1 then
  return 0
end
redis.call('SET', 'everpost:withdrawn:' .. id, '1', 'PX', ARGV[2])
redis.call('DEL', 'arq:job:' .. id, 'arq:retry:' .. id)
for _, queue in ipairs(KEYS) do
  redis.call('ZREM', queue, id)
end
return 1
