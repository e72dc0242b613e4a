-- Removes queue entries that cannot be arq's, because their ids are not UTF-8. They are already recorded.
--
-- KEYS  the queues
-- ARGV  for each entry its id and queue number
for i = 1, #ARGV, 2 do
  redis.call('ZREM', KEYS[tonumber(ARGV[i + 1])], ARGV[i])
  redis.call('DEL', 'arq:job:' .. ARGV[i], 'arq:retry:' .. ARGV[i], 'arq:in-progress:' .. ARGV[i])
end
