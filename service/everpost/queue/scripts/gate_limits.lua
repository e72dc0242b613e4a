-- Tells Redis the limits, unless it has newer ones, and looks at all scopes again.
--
-- ARGV  2 version, 3 "1" to replace also newer ones, 4 "1" if no task has ever run: then the gate is open at once,
--       5 msgpack map: the fields of everpost:limits
-- Returns 1 if they were replaced.
if ARGV[4] == '1' and redis.call('EXISTS', LIMITS) == 0 then
  redis.call('HSET', GATE, 'run_id', run_id, 'opens_at', text(now), 'is_counted', '1')
end
local version = tonumber(redis.call('HGET', LIMITS, 'version') or nil)
if version and version >= tonumber(ARGV[2]) and ARGV[3] ~= '1' then
  return 0
end
redis.call('DEL', LIMITS)
for field, value in pairs(cmsgpack.unpack(ARGV[5])) do
  redis.call('HSET', LIMITS, field, cmsgpack.pack(value))
end
redis.call('HSET', LIMITS, 'version', ARGV[2])
for _, scope in ipairs(redis.call('ZRANGE', OPENINGS, 0, -1)) do
  redis.call('ZADD', OPENINGS, text(now), scope)
end
return 1
