-- Removes the health-check entry if this worker wrote it last: all workers share the key.
--
-- KEYS  1 health-check key
-- ARGV  1 the last value this worker wrote
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
