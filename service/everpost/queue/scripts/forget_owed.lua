-- Forgets what was noted with owe.lua, because it has not happened.
-- ARGV: what would have happened; the ids.
for i = 2, #ARGV do
  redis.call('ZREM', 'everpost:events:owed', ARGV[1] .. ' ' .. ARGV[i])
end
