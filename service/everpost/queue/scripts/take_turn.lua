-- Takes one request of a key's rate, which all API processes share: a bucket that leaks evenly (GCRA).
-- KEYS: the key's bucket.  ARGV: how many requests at once, and in how many milliseconds as many again.
-- The answer: 0; or, if the request comes too early, the milliseconds to wait, and the request is not counted.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local count, span = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or '')
if not full or full < now then
    full = now
end
local after = full + span / count
if after - now > span then
    return math.ceil(after - now - span)
end
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.ceil(after - now) + 1)
return 0
