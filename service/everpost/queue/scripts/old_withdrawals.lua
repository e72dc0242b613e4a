-- The tasks that were withdrawn longest ago.
-- KEYS: the withdrawals.  ARGV: their least age in ms, the most that are answered.
local clock = redis.call('TIME')
local before = clock[1] * 1000 + math.floor(clock[2] / 1000) - ARGV[1]
return redis.call('ZRANGE', KEYS[1], '-inf', before, 'BYSCORE', 'LIMIT', 0, ARGV[2])
