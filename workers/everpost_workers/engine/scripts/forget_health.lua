-- Removes the health-check entry if it is still the one this worker wrote: a fleet shares the key.
--
-- KEYS  1 health-check key
-- ARGV  1 what this worker wrote last
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
