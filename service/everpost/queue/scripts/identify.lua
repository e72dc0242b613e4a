-- Identifies this Redis, and names its data set if it has no name.
-- KEYS: the name.  ARGV: a new name, the most characters of it that are answered.
-- Answers the name, the process's id, its replication id, and how many keys it has dropped for lack of memory.
local function fact(section, name)
    return string.match(redis.call('INFO', section), '\n' .. name .. ':([^\r\n]*)') or ''
end

redis.call('DEL', 'everpost:none') -- if Redis has no memory left: see put_small.lua
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return {
    redis.call('GETRANGE', KEYS[1], 0, ARGV[2]), fact('server', 'run_id'), fact('replication', 'master_replid'),
    fact('stats', 'evicted_keys'),
}
