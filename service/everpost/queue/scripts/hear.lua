-- Says that a process reads events, and answers what it can read. Without a stream, one begins. It follows telling.lua.
-- ARGV: a new name for the stream; how long events are kept at least after the last call (ms); the most bytes of them.
-- Answers the stream's name, the number of its last entry, that of its first ("" if it is empty), the process's id, its
-- replication id, the time (ms).
local function fact(section, name)
  return string.match(redis.call('INFO', section), '\n' .. name .. ':([^\r\n]*)') or ''
end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = redis.pcall('HMGET', STATE, 'name', 'n', 'until')
local kind = redis.call('TYPE', EVENTS).ok
if found.err or not (found[1] and found[2] and found[3]) or (kind ~= 'stream' and kind ~= 'none') then
  if redis.call('EXISTS', EVENTS, STATE) > 0 then
    redis.call('UNLINK', EVENTS, STATE)
  end
  local most, memory = tonumber(ARGV[3]), tonumber(fact('memory', 'maxmemory')) or 0
  if memory > 0 then
    most = math.min(most, math.floor(memory / 16))
  end
  most = string.format('%.0f', most)
  redis.call('HSET', STATE, 'name', ARGV[1], 'n', 0, 'bytes', 0, 'until', most, 'most', most) -- refused by a full Redis
  found = { ARGV[1], '0' }
end
for _, key in ipairs({ EVENTS, STATE }) do
  if redis.call('PTTL', key) < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', key, ARGV[2])
  end
end
local first = redis.pcall('XRANGE', EVENTS, '-', '+', 'COUNT', 1)
local number = first[1] and string.match(first[1][1], '^(%d+)') or ''
return { found[1], found[2], number, fact('server', 'run_id'), fact('replication', 'master_replid'), string.format('%.0f', now) }
