-- Claims due jobs for one worker: leases them, counts the try, and returns their payloads, in one step.
--
-- KEYS  1 abort set, 2 health-check key, 3 state of the event stream, 4.. the queues
-- ARGV  1 lease token, 2 lease (ms), 3 life of a try counter (s), 4 payload bytes that end a pass,
--       5 "1" to look for abort requests, 6 bytes of the largest payload that is returned whole (0: any size),
--       7 bytes returned of a larger one, 8 passes as JSON [[limit, [queue number, ...]], ...], 9.. job ids (then only
--       these are considered, all of them in the first queue)
-- Returns {now (ms), earliest score left or false, entries in all queues, health-check key exists, the state exists,
--          id, queue number, score, try, payload or false, abort requested at or false, ...}
--          A payload that is too large is {its beginning, its size}.
--
-- A claimed job's score moves to the end of its lease, so the head of a queue always has unclaimed jobs.
--
-- Claims work in a full Redis, because claimed jobs soon leave it and make room. Redis refuses a command that needs
-- memory only as a script's first write (scriptVerifyOOM in its script.c), and DEL needs none.
local JOB, HELD, RETRY = 'arq:job:', 'arq:in-progress:', 'arq:retry:'
local GROUP = 25 -- jobs taken together
local token, lease, retry_ttl = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local lease_ms = ARGV[2] -- as text: a number that is given to a command is written anew each time
local bytes_left, watches_aborts = tonumber(ARGV[4]), ARGV[5] == '1'
local largest, beginning = tonumber(ARGV[6]), tonumber(ARGV[7])
local last_byte = largest > 0 and ARGV[6] or '-1'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.ceil(clock[2] / 1000)
local lease_end = string.format('%.0f', now + lease)
local any_rare = redis.call('EXISTS', KEYS[1], KEYS[3]) > 0 -- mostly false, so one call is enough
local any_aborts = any_rare and watches_aborts and redis.call('ZCARD', KEYS[1]) > 0
local entries_in = {} -- by queue number; most queues are empty most of the time
for i = 4, #KEYS do
  entries_in[i - 3] = redis.call('ZCARD', KEYS[i])
end
local reply = { now, false, 0, redis.call('EXISTS', KEYS[2]), any_rare and redis.call('EXISTS', KEYS[3]) or 0 }

local function count_try(id)
  if redis.call('SET', RETRY .. id, '1', 'NX', 'EX', retry_ttl) then
    return 1
  end
  local try = redis.pcall('INCR', RETRY .. id)
  if type(try) == 'table' or try > 2 ^ 53 then -- no number, or none that Lua knows exactly: nothing counted it
    redis.call('SET', RETRY .. id, 1, 'EX', retry_ttl)
    return 1
  end
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

-- Another worker has the job. The copy of a cron job that has already run is dropped. Any other job is checked again when
-- the holder's lease ends, or after one of our leases, because a stock worker's lease lasts for minutes.
local function pass_over(queue_number, id)
  local queue = KEYS[3 + queue_number]
  if redis.pcall('GET', HELD .. id) == 'finished' then -- a key of another type holds the job, as in arq
    redis.call('DEL', JOB .. id)
    entries_in[queue_number] = entries_in[queue_number] - redis.call('ZREM', queue, id)
    return
  end
  local ttl = redis.call('PTTL', HELD .. id)
  if ttl == -1 then -- Everpost and arq always set an expiry, so this lease is foreign
    redis.call('PEXPIRE', HELD .. id, lease)
  end
  if ttl < 0 or ttl > lease then
    ttl = lease
  end
  redis.call('ZADD', queue, 'XX', now + ttl + 1, id)
end

-- The payload of a job, false if there is none (or a key of another type); of a large one its beginning and its size. Also
-- returns how many bytes of it are passed on.
local function payload_of(id)
  local payload = redis.pcall('GETRANGE', JOB .. id, '0', last_byte)
  if type(payload) ~= 'string' or payload == '' then
    return false, 0
  elseif largest > 0 and #payload > largest then
    return { string.sub(payload, 1, beginning), redis.call('STRLEN', JOB .. id) }, beginning
  end
  return payload, #payload
end

-- Claims those of a queue's entries (id, score, ...) that no worker holds, and returns their number. Where possible, one
-- command serves many jobs, because each call costs as much as its work.
local function claim(queue_number, entries)
  local taken, leases, payloads = {}, {}, {}
  redis.call('DEL', 'everpost:none')
  for i = 1, #entries, 2 do
    local id = entries[i]
    local payload, bytes = payload_of(id)
    if #payloads > 0 and bytes > bytes_left then
      bytes_left = 0
      break
    elseif redis.call('SET', HELD .. id, token, 'NX', 'PX', lease_ms) then
      local n = #taken
      taken[n + 1], taken[n + 2] = id, entries[i + 1]
      leases[n + 1], leases[n + 2] = lease_end, id
      payloads[#payloads + 1] = payload
      bytes_left = bytes_left - bytes
    else
      pass_over(queue_number, id)
    end
  end
  if #payloads == 0 then
    return 0
  end
  redis.call('ZADD', KEYS[3 + queue_number], unpack(leases))
  for i, payload in ipairs(payloads) do
    local n, id = #reply, taken[2 * i - 1]
    reply[n + 1], reply[n + 2], reply[n + 3] = id, queue_number, taken[2 * i]
    reply[n + 4], reply[n + 5], reply[n + 6] = count_try(id), payload, take_abort(id)
  end
  return #payloads
end

local function claim_due(queue_number, limit)
  local claimed, looks = 0, 3
  -- Skipped jobs leave the head, so a second look sees other jobs. Three looks limit the work of one call.
  while looks > 0 and claimed < limit and bytes_left > 0 do
    local some = math.min(GROUP, limit - claimed)
    local due = redis.call('ZRANGE', KEYS[3 + queue_number], '-inf', now, 'BYSCORE', 'LIMIT', 0, some, 'WITHSCORES')
    if #due == 0 then
      break
    end
    local taken = claim(queue_number, due)
    claimed = claimed + taken
    if 2 * taken < #due then
      looks = looks - 1
    end
  end
  return claimed
end

if #ARGV > 8 then
  for i = 9, #ARGV do
    local score = redis.call('ZSCORE', KEYS[4], ARGV[i])
    if score and tonumber(score) <= now then
      claim(1, { ARGV[i], score })
    end
  end
else
  local carried = 0
  for _, pass in ipairs(cjson.decode(ARGV[8])) do
    local limit = pass[1] + carried
    if pass[1] > 0 then
      bytes_left = math.max(bytes_left, 1) -- else large payloads of urgent jobs would take the others' share
    end
    for _, queue_number in ipairs(pass[2]) do
      if limit > 0 and bytes_left > 0 and entries_in[queue_number] > 0 then
        limit = limit - claim_due(queue_number, limit)
      end
    end
    carried = bytes_left > 0 and limit or 0
  end
end

for queue_number, entries in ipairs(entries_in) do
  if entries > 0 then
    local head = redis.call('ZRANGE', KEYS[3 + queue_number], 0, 0, 'WITHSCORES')
    if not reply[2] or tonumber(head[2]) < tonumber(reply[2]) then
      reply[2] = head[2]
    end
    reply[3] = reply[3] + entries
  end
end
return reply
