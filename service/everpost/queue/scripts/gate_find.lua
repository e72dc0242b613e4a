-- Finds out which tasks workers hold, and what parked tasks wait for.
--
-- ARGV  the tasks
-- Returns for each task 1 if a worker holds it, nothing if it is not parked either, else {scope it waits behind, kind, until
-- when (ms) or "", how many of its lane go before it}.
local INDEX, PARKED, LANES, WHY = 'everpost:parked', 'everpost:parked:', 'everpost:lanes', 'everpost:why'
local HELD = 'arq:in-progress:'
local is_any_parked = redis.call('EXISTS', INDEX) == 1

local function whereabouts(id)
  local where = redis.call('HGET', INDEX, id)
  local rank = where and redis.call('ZRANK', where, id)
  local scope = rank and redis.call('HGET', LANES, string.sub(where, #PARKED + 1))
  if not scope then
    return false
  end
  local kind, until_ms = string.match(redis.call('HGET', WHY, scope) or '', '^(%S+) (%d*)')
  return { scope, kind or 'turn', until_ms or '', rank }
end

local reply = {}
for i, id in ipairs(ARGV) do
  if redis.call('EXISTS', HELD .. id) == 1 then
    reply[i] = 1
  else
    reply[i] = is_any_parked and whereabouts(id)
  end
end
return reply
