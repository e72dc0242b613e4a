-- Puts jobs back into a queue that withdraw.lua took out with a token, each with its new payload, queue and time.
-- KEYS: wake channel, the withdrawals, then all queues.
-- ARGV: the caller's time in ms, the token, then for each job its id, queue, due time in ms ("" means at once), payload.
-- Answers 1 for each job that is in its queue now. It is 0 if another caller has taken the job out since, who then is
-- responsible for it, or if a worker holds it or it has ended: its note had expired, and the relay brought it.
-- Times are as in enqueue.lua.
local SMALL = 1000 -- ms
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ahead = now - tonumber(ARGV[1])
if math.abs(ahead) < SMALL then
  ahead = 0
end
local token = ARGV[2]
local answers = {}

local function is_ours(id)
  local note = redis.pcall('GET', 'everpost:withdrawn:' .. id)
  if note then
    return note == token
  end
  return redis.call('EXISTS', 'arq:in-progress:' .. id, 'arq:result:' .. id) == 0
end

for i = 3, #ARGV, 4 do
  local id, queue, due, payload = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  if is_ours(id) then
    redis.call('DEL', 'everpost:withdrawn:' .. id) -- first: after a DEL a full Redis refuses no write of a script
    redis.call('ZREM', KEYS[2], id)
    local lane = redis.pcall('HGET', 'everpost:parked', id) -- the relay may have brought it, and a gate parked it: see gate.lua
    if type(lane) == 'string' then
      redis.pcall('ZREM', lane, id)
      redis.call('HDEL', 'everpost:parked', id)
    end
    for k = 3, #KEYS do
      redis.call('ZREM', KEYS[k], id)
    end
    redis.call('SET', 'arq:job:' .. id, payload)
    redis.call('ZADD', queue, due and due + ahead or now, id)
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = 0
  end
end
redis.pcall('PUBLISH', KEYS[1], '') -- a user may be given no channels: then workers poll
return answers
