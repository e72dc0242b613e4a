-- What stands under keys, as MGET tells it, but for what is too large to be ours.
-- KEYS: the keys.  ARGV: the most bytes of one.
local most = tonumber(ARGV[1])
local found = {}
for i, key in ipairs(KEYS) do
  local size = redis.pcall('STRLEN', key) -- an error where the key is of another type
  found[i] = type(size) == 'number' and size > 0 and size <= most and redis.call('GET', key)
end
return found
