-- Takes due jobs for one worker: leases them, counts the try, and hands over their payloads, in one step.
--
-- KEYS  1 abort set, 2 health-check key, 3.. the queues
-- ARGV  1 lease token, 2 lease (ms), 3 life of a try counter (s), 4 most payload bytes of one claim,
--       5 "1" to look for abort requests, 6 passes as JSON [[limit, [queue number, ...]], ...], 7.. job ids (then only
--       these are considered, all of them in the first queue)
-- Returns {now (ms), earliest score left or false, entries in all queues, health-check key exists,
--          id, queue number, score, try, payload or false, abort requested at or false, ...}
--
-- A claimed job's score moves to the end of its lease, so the head of a queue is always work nobody has.
local JOB, HELD, RETRY = 'arq:job:', 'arq:in-progress:', 'arq:retry:'
local token, lease, retry_ttl = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local bytes_left, watches_aborts = tonumber(ARGV[4]), ARGV[5] == '1'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.ceil(clock[2] / 1000)
local lease_end = now + lease
local any_aborts = watches_aborts and redis.call('ZCARD', KEYS[1]) > 0
local reply = { now, false, 0, redis.call('EXISTS', KEYS[2]) }

local function count_try(id)
  if redis.call('SET', RETRY .. id, 1, 'NX', 'EX', retry_ttl) then
    return 1
  end
  local try = redis.call('INCR', RETRY .. id)
  redis.call('EXPIRE', RETRY .. id, retry_ttl)
  return try
end

local function take_abort(id)
  if not any_aborts then
    return false
  end
  local requested_at = redis.call('ZSCORE', KEYS[1], id)
  if requested_at then
    redis.call('ZREM', KEYS[1], id)
  end
  return requested_at
end

-- Somebody else has it. The copy of a cron job that has already run is dropped; anything else is looked at again when
-- the holder's lease ends, or after one of ours, because a stock worker's lasts for minutes.
local function pass_over(queue, id)
  if redis.call('GET', HELD .. id) == 'finished' then
    redis.call('DEL', JOB .. id)
    redis.call('ZREM', queue, id)
    return
  end
  local ttl = redis.call('PTTL', HELD .. id)
  if ttl < 0 or ttl > lease then
    ttl = lease
  end
  redis.call('ZADD', queue, 'XX', now + ttl + 1, id)
end

local function claim(queue_number, id, score)
  local queue = KEYS[2 + queue_number]
  if not redis.call('SET', HELD .. id, token, 'NX', 'PX', lease) then
    pass_over(queue, id)
    return 0
  end
  redis.call('ZADD', queue, lease_end, id)
  local payload = redis.call('GET', JOB .. id)
  if payload then
    bytes_left = bytes_left - #payload
  end
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3] = id, queue_number, score
  reply[n + 4], reply[n + 5], reply[n + 6] = count_try(id), payload, take_abort(id)
  return 1
end

local function claim_due(queue_number, limit)
  local claimed = 0
  -- Jobs passed over leave the head, so a second look sees other ones; three bound the work of one call.
  for _ = 1, 3 do
    local due = redis.call('ZRANGE', KEYS[2 + queue_number], '-inf', now, 'BYSCORE', 'LIMIT', 0, limit - claimed,
      'WITHSCORES')
    for i = 1, #due, 2 do
      claimed = claimed + claim(queue_number, due[i], due[i + 1])
      if bytes_left <= 0 then
        return claimed
      end
    end
    if #due == 0 or claimed == limit then
      break
    end
  end
  return claimed
end

if #ARGV > 6 then
  for i = 7, #ARGV do
    local score = redis.call('ZSCORE', KEYS[3], ARGV[i])
    if score and tonumber(score) <= now then
      claim(1, ARGV[i], score)
    end
  end
else
  local carried = 0
  for _, pass in ipairs(cjson.decode(ARGV[6])) do
    local limit = pass[1] + carried
    for _, queue_number in ipairs(pass[2]) do
      if limit > 0 and bytes_left > 0 then
        limit = limit - claim_due(queue_number, limit)
      end
    end
    carried = limit
  end
end

for i = 3, #KEYS do
  local head = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')
  if head[2] and (not reply[2] or tonumber(head[2]) < tonumber(reply[2])) then
    reply[2] = head[2]
  end
  reply[3] = reply[3] + redis.call('ZCARD', KEYS[i])
end
return reply
