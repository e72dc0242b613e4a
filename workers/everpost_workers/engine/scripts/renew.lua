-- Renews the leases of all jobs a worker holds.
--
-- KEYS  the queues
-- ARGV  1 lease (ms), then for each job: id, queue number, lease token
-- Returns the positions (from 1) of jobs this worker does not hold: positive if no worker holds the job, negative if
-- another one does. A job held by another claim of this same worker counts as held: that claim's answer is late or lost.
local HELD = 'arq:in-progress:'
local lease = tonumber(ARGV[1])
local clock = redis.call('TIME')
local lease_end = clock[1] * 1000 + math.ceil(clock[2] / 1000) + lease
local reply = {}

local function worker_of(token)
  return string.match(token, '^(.*):')
end

for i = 2, #ARGV, 3 do
  local id, position = ARGV[i], (i - 2) / 3 + 1
  local holder = redis.pcall('GET', HELD .. id) -- a key of another type holds the job, as in arq
  if holder == ARGV[i + 2] or type(holder) == 'string' and worker_of(holder) == worker_of(ARGV[i + 2]) then
    redis.call('PEXPIRE', HELD .. id, lease)
    -- Refused while Redis is out of memory; the lease key above is what keeps other workers away.
    redis.pcall('ZADD', KEYS[tonumber(ARGV[i + 1])], 'XX', lease_end, id)
  else
    reply[#reply + 1] = holder and -position or position
  end
end
return reply
