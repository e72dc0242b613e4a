-- The last reports of the workers.
-- KEYS: the hash.  ARGV: the longest value, the longest field, and the most fields that are read.
-- Answers the fields and values that workers may have written and, as its last element, all other fields. If the hash has
-- more fields than the limit, all count as others. A key of another type has no fields.
local longest_value, longest_field, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  return { {} }
end
if redis.call('HLEN', KEYS[1]) > most then
  return { redis.call('HRANDFIELD', KEYS[1], most) }
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
answer[#answer + 1] = others
return answer
