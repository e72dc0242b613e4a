-- Notes what is about to happen to tasks, in case that the caller dies before it tells.
-- ARGV: what will have happened; the ids.
-- Answers 1 if it is noted, 0 if no reader wants to know.
if redis.call('EXISTS', 'everpost:events:state') == 0 then
  return 0
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('DEL', 'everpost:none') -- so that the next command is allowed without memory, too: see put_small.lua
for i = 2, #ARGV do
  redis.call('ZADD', 'everpost:events:owed', string.format('%.0f', now), ARGV[1] .. ' ' .. ARGV[i])
end
return 1
