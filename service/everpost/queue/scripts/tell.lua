-- Tells of tasks, if readers want to know. It follows telling.lua.
-- ARGV: what happened; "1" if it was owed (owe.lua); what else there is to tell, or ""; the ids.
local clock = redis.call('TIME')
local ids = {}
for i = 4, #ARGV do
  ids[#ids + 1] = ARGV[i]
  if ARGV[2] == '1' then
    redis.call('ZREM', 'everpost:events:owed', ARGV[1] .. ' ' .. ARGV[i])
  end
end
if is_heard() then
  tell(ARGV[1], ids, clock[1] * 1000 + math.floor(clock[2] / 1000), ARGV[3] ~= '' and ARGV[3])
end
