-- Put jobs into their queues, as arq's enqueue_job does, but many at once and without an expiry.
-- KEYS: wake channel.  ARGV: for each job its id, queue, when it is due in ms ("" is at once), payload.
-- Answers 1 for each job that is in a queue now, 0 for each that was withdrawn or has ended.
-- At once is by this server's clock, as claims are: no host's clock, and none that was set back, holds a job up.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local answers = {}
for i = 1, #ARGV, 4 do
  local id, queue, score, payload = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]) or now, ARGV[i + 3]
  if redis.call('EXISTS', 'arq:result:' .. id, 'everpost:withdrawn:' .. id) > 0 then
    answers[#answers + 1] = 0
  else
    if redis.call('SET', 'arq:job:' .. id, payload, 'NX') then
      redis.call('ZADD', queue, score, id)
    elseif redis.call('EXISTS', 'arq:in-progress:' .. id) == 0 then
      redis.call('ZADD', queue, 'LT', score, id)
    end
    answers[#answers + 1] = 1
  end
end
redis.call('PUBLISH', KEYS[1], '')
return answers
