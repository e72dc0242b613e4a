-- Drops the oldest results, and estimates the bytes of all results; see release.lua for the index.
-- KEYS: the results index.  ARGV: the bytes that the results may take, the most results to drop.
-- Answers {bytes left, results dropped, bytes of memory that Redis uses, most bytes that it may use or 0}.
local function memory(name)
  return tonumber(string.match(redis.call('INFO', 'memory'), '\n' .. name .. ':(%d+)')) or 0
end

local index, most_bytes, most = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local kind = redis.call('TYPE', index).ok
if kind ~= 'hash' then
  if kind ~= 'none' then
    redis.call('DEL', index) -- another program overwrote it; release.lua begins it anew
  end
  return { 0, 0, memory('used_memory'), memory('maxmemory') }
end
local lists, bytes_of, total = {}, {}, 0
local entries = redis.call('HGETALL', index)
for i = 1, #entries, 2 do
  local list, bytes = entries[i], tonumber(entries[i + 1])
  if bytes and redis.call('TYPE', list).ok == 'list' then
    lists[#lists + 1], bytes_of[list] = list, bytes
    total = total + bytes
  else
    redis.call('HDEL', index, list) -- it has expired, with its results
  end
end
table.sort(lists, function(a, b)
  return (tonumber(string.match(a, '%d+$')) or 0) < (tonumber(string.match(b, '%d+$')) or 0)
end)

local dropped = 0
for _, list in ipairs(lists) do
  if total <= most_bytes or dropped >= most then
    break
  end
  local length = redis.call('LLEN', list)
  local each = bytes_of[list] / length
  while total > most_bytes and dropped < most and length > 0 do
    local ids = redis.call('LPOP', list, math.min(500, most - dropped, math.ceil((total - most_bytes) / math.max(each, 1))))
    local keys = {}
    for i, id in ipairs(ids) do
      keys[i] = 'arq:result:' .. id
    end
    redis.call('DEL', unpack(keys))
    dropped, length, total = dropped + #ids, length - #ids, total - #ids * each
    bytes_of[list] = bytes_of[list] - #ids * each
  end
  if length == 0 then
    redis.call('HDEL', index, list)
  else
    redis.call('HSET', index, list, string.format('%.0f', bytes_of[list]))
  end
end
return { string.format('%.0f', total), dropped, memory('used_memory'), memory('maxmemory') }
