-- The newest timeline of a PostgreSQL that any process has seen lately. What another program wrote is replaced.
-- KEYS: the key.  ARGV: the caller's timeline (eight hexadecimal digits), and for how many seconds it counts.
local known = redis.pcall('GET', KEYS[1])
if type(known) == 'string' and string.find(known, '^%x%x%x%x%x%x%x%x$') and known > ARGV[1] then
    return known
end
redis.call('DEL', 'everpost:none') -- so that the next command is allowed without memory, too: see put_small.lua
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return ARGV[1]
