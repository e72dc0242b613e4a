-- Tells Redis, after it was emptied, when earlier attempts began; from now on it admits tasks again.
--
-- ARGV  2 msgpack map: scope -> {times (ms), the newest first; how many began today}, 3 msgpack map: scope -> until when (ms) it is
--       or was closed
-- Returns 1 if it did not have them yet.
if is_counted or now < opens_at then
  return 0
end
for scope, told in pairs(cmsgpack.unpack(ARGV[2])) do
  local limits = limits_of(scope)
  if limits and limits.memory and #told[1] > 0 then
    redis.call('DEL', USES .. scope)
    for i = 1, math.min(#told[1], limits.most) do
      redis.call('RPUSH', USES .. scope, text(told[1][i]))
    end
    redis.call('PEXPIRE', USES .. scope, text(limits.memory))
  end
  local ends = limits and limits.daily and day_end(limits.zone)
  if ends and told[2] > 0 then
    redis.call('HSET', DAY .. scope, 'ends', text(ends), 'used', told[2])
    redis.call('PEXPIREAT', DAY .. scope, text(ends + 1000))
  end
end
for scope, until_ms in pairs(cmsgpack.unpack(ARGV[3])) do
  redis.call('HSET', CLOSED, scope, text(until_ms)) -- half open if that is past
end
redis.call('HSET', GATE, 'is_counted', '1')
for _, scope in ipairs(redis.call('ZRANGE', OPENINGS, 0, -1)) do
  redis.call('ZADD', OPENINGS, text(now), scope)
end
return 1
