-- Tells what was noted so long ago that the caller must have died. It follows telling.lua.
-- ARGV: after how many ms; how many at most.
-- Answers how many there were.
local OWED = 'everpost:events:owed'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local before = string.format('%.0f', now - ARGV[1])
local owed = redis.call('ZRANGE', OWED, '-inf', before, 'BYSCORE', 'LIMIT', 0, ARGV[2])
if #owed == 0 then
  return 0
end
local by_kind = {}
for _, member in ipairs(owed) do
  local kind, id = string.match(member, '^(%S+) (.+)$')
  if kind then
    by_kind[kind] = by_kind[kind] or {}
    table.insert(by_kind[kind], id)
  end
end
redis.call('ZREM', OWED, unpack(owed))
if by_kind.lost then -- it is not known which tasks
  redis.call('UNLINK', EVENTS, STATE)
elseif is_heard() then
  for kind, ids in pairs(by_kind) do
    tell(kind, ids, now)
  end
end
return #owed
