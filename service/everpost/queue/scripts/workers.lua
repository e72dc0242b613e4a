-- The last reports of the workers.
-- KEYS: the hash.  ARGV: the longest value, the longest field, and the most fields that are read.
-- Answers the time in ms, the fields and values that workers may have written, and all other fields. If the hash has
-- more fields than the limit, all count as others. A key of another type has no fields.
local longest_value, longest_field, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  return { now, {}, {} }
end
if redis.call('HLEN', KEYS[1]) > most then
  return { now, {}, redis.call('HRANDFIELD', KEYS[1], most) }
end
local answer, others = {}, {}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if #field <= longest_field and redis.call('HSTRLEN', KEYS[1], field) <= longest_value then
    local n = #answer
    answer[n + 1], answer[n + 2] = field, redis.call('HGET', KEYS[1], field)
  else
    others[#others + 1] = field
  end
end
return { now, answer, others }
