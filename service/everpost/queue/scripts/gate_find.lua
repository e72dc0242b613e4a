-- Finds out which tasks workers hold, and what parked tasks wait for.
--
-- ARGV  the tasks, at most 1,000
-- Returns for each task 1 if a worker holds it, nothing if it is not parked either, else {scope it waits behind, kind, until
-- when (ms) or "", how many of its lane go before it}.
local INDEX, PARKED, LANES, WHY = 'everpost:parked', 'everpost:parked:', 'everpost:lanes', 'everpost:why'

local keys = {}
for i, id in ipairs(ARGV) do
  keys[i] = 'arq:in-progress:' .. id
end
local held = redis.call('MGET', unpack(keys))
local lanes = redis.call('EXISTS', INDEX) == 1 and redis.pcall('HMGET', INDEX, unpack(ARGV)) or {} -- overwritten: none

local function whereabouts(id, where)
  local rank = redis.call('ZRANK', where, id)
  local scope = rank and redis.call('HGET', LANES, string.sub(where, #PARKED + 1))
  if not scope then
    return false
  end
  local kind, until_ms = string.match(redis.call('HGET', WHY, scope) or '', '^(%S+) (%d*)')
  return { scope, kind or 'turn', until_ms or '', rank }
end

local reply = {}
for i, id in ipairs(ARGV) do
  reply[i] = held[i] and 1 or lanes[i] and whereabouts(id, lanes[i]) or false
end
return reply
