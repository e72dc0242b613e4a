-- The values of keys, like MGET, without values that are too large to be Everpost's.
-- KEYS: the keys.  ARGV: the most bytes of a value.
local most = tonumber(ARGV[1])
local found = {}
for i, key in ipairs(KEYS) do
  local size = redis.pcall('STRLEN', key) -- an error where the key is of another type
  found[i] = type(size) == 'number' and size > 0 and size <= most and redis.call('GET', key)
end
return found
