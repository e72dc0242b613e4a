-- Keeps a worker's report, which holds for some time by this server's clock.
-- KEYS: the hash.  ARGV: the field, the report as a JSON object without its last brace, how long it holds in ms.
local clock = redis.call('TIME')
local until_ms = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[3])
redis.call('DEL', 'everpost:none') -- has a full Redis let the write through, see put_small.lua
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ',"until_ms":' .. until_ms .. '}')
