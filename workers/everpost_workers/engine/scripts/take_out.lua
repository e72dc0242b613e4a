-- Removes queue entries that no job of arq's can be: their ids are not UTF-8. What they were is on record already.
--
-- KEYS  the queues
-- ARGV  of each entry its id and queue number
for i = 1, #ARGV, 2 do
  redis.call('ZREM', KEYS[tonumber(ARGV[i + 1])], ARGV[i])
  redis.call('DEL', 'arq:job:' .. ARGV[i], 'arq:retry:' .. ARGV[i], 'arq:in-progress:' .. ARGV[i])
end
