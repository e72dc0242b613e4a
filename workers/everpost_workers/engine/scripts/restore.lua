-- Restores what Redis lost of the jobs a worker is running: lease, payload, try counter and queue entry.
--
-- KEYS  the queues
-- ARGV  1 lease (ms), 2 life of a try counter (s), then for each job: id, queue number, lease token, try counter at the
--       claim, payload or ""
-- Returns the positions (from 1) of the jobs that another worker has taken or ended meanwhile.
-- A job of another claim of this same worker stays with that claim: its answer is late or lost.
local JOB, HELD, RETRY, RESULT = 'arq:job:', 'arq:in-progress:', 'arq:retry:', 'arq:result:'
local lease, retry_ttl = tonumber(ARGV[1]), ARGV[2]
local clock = redis.call('TIME')
local lease_end = clock[1] * 1000 + math.ceil(clock[2] / 1000) + lease
local reply = {}

local function worker_of(token)
  return string.match(token, '^(.*):')
end

local function went_on_without_us(id, token, tries)
  local holder = redis.pcall('GET', HELD .. id) -- a key of another type holds the job, as in arq
  if holder then
    return type(holder) ~= 'string' or worker_of(holder) ~= worker_of(token)
  end
  local counted = tonumber(redis.pcall('GET', RETRY .. id)) -- nil if it is not a number
  if counted then
    return counted ~= tonumber(tries)
  end
  return redis.call('EXISTS', RESULT .. id) == 1
end

redis.call('DEL', 'everpost:none') -- has a full Redis let the writes below through, see claim.lua
for i = 3, #ARGV, 5 do
  local id, token, tries, payload = ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  if went_on_without_us(id, token, tries) then
    reply[#reply + 1] = (i - 3) / 5 + 1
  else
    redis.call('SET', HELD .. id, token, 'NX', 'PX', lease)
    redis.call('SET', RETRY .. id, tries, 'NX', 'EX', retry_ttl)
    if payload ~= '' then
      redis.call('SET', JOB .. id, payload, 'NX')
    end
    redis.call('ZADD', KEYS[tonumber(ARGV[i + 1])], lease_end, id)
  end
end
return reply
