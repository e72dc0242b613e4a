-- Finds out what parked tasks wait for.
--
-- ARGV  the tasks
-- Returns for each task nothing if it is not parked, else {scope it waits behind, kind, until when (ms) or "", how many of
-- its lane go before it}.
local INDEX, PARKED, LANES, WHY = 'everpost:parked', 'everpost:parked:', 'everpost:lanes', 'everpost:why'
local reply = {}
for i, id in ipairs(ARGV) do
  local where = redis.call('HGET', INDEX, id)
  local rank = where and redis.call('ZRANK', where, id)
  local scope = rank and redis.call('HGET', LANES, string.sub(where, #PARKED + 1))
  reply[i] = false
  if scope then
    local kind, until_ms = string.match(redis.call('HGET', WHY, scope) or '', '^(%S+) (%d*)')
    reply[i] = { scope, kind or 'turn', until_ms or '', rank }
  end
end
return reply
