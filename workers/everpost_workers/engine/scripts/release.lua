-- Releases jobs: ended ones are removed and their results kept, the others go back to their queue.
--
-- KEYS  1 abort set, 2.. the queues
-- ARGV  1 life of a try counter (s), 2 wake channel or "", 3 the jobs, 4 results index or "", 5 ms of one of its lists,
--       6 index of the jobs that are elsewhere or "", 7 event stream or "", 8.. each job's bytes
--       The jobs are one msgpack list, which is cheaper to write than as many arguments (without the bytes, which cmsgpack
--       does not read), with seven elements for each: action, id, queue number, lease token, try counter at the claim,
--       and by action (the bytes come first):
--         end: result or ""; its life (ms; "" keeps it for ever), how long to keep the id occupied (ms, 0 not)
--         end_for_good: the same; a late copy of the job is dropped while the id is occupied
--         return: payload or ""; new score, new try counter
--         return_in: payload or ""; ms from now until it is due, new try counter
--         return_at: payload or ""; new score, moved a little ahead if it is in the past, new try counter
--         elsewhere: payload or ""; a list of another sorted set's key and its score there, new try counter
-- Returns the positions (from 1) of jobs this worker no longer holds, negative if only the result was not stored.
--
-- The results index tells which results are the oldest (shed_results.lua). It is a hash of list names and the estimated
-- bytes of each list's results. A list has the ids of a period, and expires after the last of their results.
--
-- The other index is a hash that tells for each job which is elsewhere the key of the sorted set that has it.
--
-- The event stream gets an entry for the jobs that have ended, and one for those whose try failed and that come again
-- later, if the hash with the stream's name and ":state" exists. docs/engine.md describes the entries.
--
-- A repeated call is harmless: the answer to the first may have been lost with the connection. Where possible, one
-- command serves many jobs, because each call costs as much as its work.
local JOB, HELD, RETRY, RESULT = 'arq:job:', 'arq:in-progress:', 'arq:retry:', 'arq:result:'
local retry_ttl, channel, jobs = ARGV[1], ARGV[2], cmsgpack.unpack(ARGV[3])
local index, list_ms = ARGV[4], tonumber(ARGV[5])
local elsewhere, events = ARGV[6], ARGV[7]
local BEFORE = 7 -- arguments before the jobs' bytes
local RESULT_BYTES = 150 -- of a result, beside its value: key, expiry, and its id in the index
local state = events ~= '' and events .. ':state' or KEYS[1]
local any_rare = redis.call('EXISTS', KEYS[1], state) > 0 -- mostly false, so one call is enough
local any_aborts = any_rare and redis.call('ZCARD', KEYS[1]) > 0
local is_heard = any_rare and events ~= '' and redis.call('EXISTS', state) == 1
local any_returned = false
local clock = redis.call('TIME') -- claims go by it too, whatever the worker's own says
local now = clock[1] * 1000 + math.ceil(clock[2] / 1000)
local reply = {}

local GOES_BACK = { ['return'] = true, return_in = true, return_at = true, elsewhere = true }
local IS_DUE_NOW = { ['return'] = true, return_in = true } -- other workers are told of it at once
local LEAST_WAIT = 100 -- ms until a job of return_at is due, or a worker could claim and return it all the time

local function worker_of(token)
  return string.match(token, '^(.*):')
end

-- The fence. A later claim of this same worker, whose answer was lost, may have taken a job that had ended here. Then the
-- try was counted once more; if the job had also ended in Redis and come anew, the count would have started over. If no
-- worker holds the job, the lease expired or Redis lost its keys. Then another worker's try, or another's result, shows
-- that the job went on without this worker.
local function is_ours(holder, action, id, token, tries, data)
  if holder == token then
    return true
  end
  local counted = tonumber(redis.pcall('GET', RETRY .. id)) -- nil if it is not a number
  if holder then
    return not GOES_BACK[action] and worker_of(holder) == worker_of(token) and counted and counted > tries
  end
  if counted then
    return counted == tries
  end
  local result = redis.pcall('GET', RESULT .. id) -- a key of another type is another's result
  return not result or (not GOES_BACK[action] and result == data)
end

local kept, kept_bytes, kept_for = {}, 0, {} -- ids, and lives as texts, of which there are few

local function keep_result(id, data, life)
  if data == '' then
    return true
  end
  -- A full Redis must not prevent the release.
  local stored
  if life == '' then
    stored = redis.pcall('SET', RESULT .. id, data)
  else
    stored = redis.pcall('SET', RESULT .. id, data, 'PX', life)
  end
  if stored.err then
    return false
  end
  if life ~= '' then
    kept[#kept + 1] = id
    kept_bytes = kept_bytes + #data
    kept_for[life] = true
  end
  return true
end

local function note_results()
  local list, kept_life = index .. ':' .. string.format('%.0f', now - now % list_ms), 0
  for life in pairs(kept_for) do
    kept_life = math.max(kept_life, tonumber(life))
  end
  if redis.pcall('RPUSH', list, unpack(kept)) == #kept then -- pcall: others may have made it a key of another type
    redis.call('PEXPIRE', list, kept_life + 2 * list_ms)
  end
  redis.pcall('HINCRBY', index, list, kept_bytes + #kept * RESULT_BYTES)
end

local gone, left = {}, {} -- keys to delete, and ids to remove by queue

local function end_job(queue, id, occupied, marker)
  local n = #gone
  gone[n + 1], gone[n + 2] = RETRY .. id, JOB .. id
  if occupied == 0 then
    gone[n + 3] = HELD .. id
  else
    redis.call('SET', HELD .. id, marker, 'PX', occupied)
  end
  left[queue] = left[queue] or {}
  left[queue][#left[queue] + 1] = id
  if any_aborts then
    redis.call('ZREM', KEYS[1], id)
  end
end

local function score_of(action, due)
  if action == 'return_in' then
    return now + due
  elseif action == 'return_at' then
    return math.max(due, now + LEAST_WAIT)
  end
  return due
end

-- A sorted set of another type takes nothing: then the job stays in its queue, and is claimed again.
local function hand_over(queue, id, other, score)
  if type(redis.pcall('ZADD', other, score, id)) == 'table' then -- an error
    redis.pcall('ZADD', queue, now + LEAST_WAIT, id)
    return
  end
  if elsewhere ~= '' then
    redis.pcall('HSET', elsewhere, id, other)
  end
  redis.pcall('ZREM', queue, id)
end

local function give_back(queue, id, payload, action, due, tries)
  if payload ~= '' then
    redis.call('SET', JOB .. id, payload, 'NX')
  end
  if action == 'elsewhere' then
    hand_over(queue, id, due[1], due[2])
  else
    redis.pcall('ZADD', queue, score_of(action, due), id) -- refused where the queue is of another type
  end
  if tries > 0 then
    redis.call('SET', RETRY .. id, tries, 'EX', retry_ttl)
  else
    redis.call('DEL', RETRY .. id)
  end
  redis.call('DEL', HELD .. id)
end

-- A full Redis refuses this, as it refused the results: it refuses writes until one has passed. Then the whole stream goes:
-- its readers learn that they have missed something, and Redis has room again. All of it is in one function, so that calls
-- without readers make no others.
local function tell(positions)
  local ENTRY_BYTES = 96 -- of an entry, beside its ids

  local function add_event(kind, ids)
    local text = table.concat(ids, '\n')
    local number = redis.pcall('HINCRBY', state, 'n', 1)
    local bytes = type(number) == 'number' and redis.pcall('HINCRBY', state, 'bytes', ENTRY_BYTES + #text)
    if type(bytes) ~= 'number' then
      return false
    end
    local id, written = string.format('%.0f-0', number), string.format('%.0f', bytes)
    local time = string.format('%.0f', now)
    local added = redis.pcall('XADD', events, id, 't', kind, 'i', text, 'm', time, 'b', written)
    if type(added) ~= 'string' then
      return false
    end
    if number == 1 then
      redis.call('PEXPIRE', events, redis.call('PTTL', state))
    end
    local most = tonumber(redis.call('HGET', state, 'until'))
    if most and bytes > most then
      redis.call('XTRIM', events, 'MAXLEN', '~', math.floor(redis.call('XLEN', events) * 3 / 4))
      local first = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
      if first then
        redis.call('HSET', state, 'until', string.format('%.0f', first[2][8] + redis.call('HGET', state, 'most')))
      end
    end
    return true
  end

  local ended, deferred = {}, {}
  for _, position in ipairs(positions) do
    local action, id = jobs[7 * position - 6], jobs[7 * position - 5]
    if action == 'return_in' then
      deferred[#deferred + 1] = id
    elseif not GOES_BACK[action] then
      ended[#ended + 1] = id
    end
  end
  for kind, ids in pairs({ ended = ended, deferred = deferred }) do
    if #ids > 0 and not add_event(kind, ids) then
      return false
    end
  end
  return true
end

local held = {}
for position = 1, #ARGV - BEFORE do
  held[position] = HELD .. jobs[7 * position - 5]
end
local holders = redis.call('MGET', unpack(held))
local ours = {}
for position = 1, #ARGV - BEFORE do
  local i, data = 7 * position - 6, ARGV[BEFORE + position]
  local action, id = jobs[i], jobs[i + 1]
  if not is_ours(holders[position], action, id, jobs[i + 3], jobs[i + 4], data) then
    reply[#reply + 1] = position
  else
    ours[#ours + 1] = position
    if not GOES_BACK[action] and not keep_result(id, data, jobs[i + 5]) then
      reply[#reply + 1] = -position
    end
  end
end
if is_heard and #ours > 0 then
  local has_run, is_written = pcall(tell, ours) -- it fails at what other programs wrote there
  if not (has_run and is_written) then
    redis.pcall('UNLINK', events, state) -- a user may lack the right to do this, too
  end
end
redis.call('DEL', 'everpost:none') -- from here on a full Redis refuses nothing, see claim.lua; results it was to refuse
for _, position in ipairs(ours) do
  local i, data = 7 * position - 6, ARGV[BEFORE + position]
  local action, id, queue = jobs[i], jobs[i + 1], KEYS[1 + jobs[i + 2]]
  if GOES_BACK[action] then
    give_back(queue, id, data, action, jobs[i + 5], jobs[i + 6])
    any_returned = any_returned or IS_DUE_NOW[action]
  else
    end_job(queue, id, jobs[i + 6], action == 'end_for_good' and 'finished' or 'occupied')
  end
end
if index ~= '' and #kept > 0 then
  note_results()
end
for queue, ids in pairs(left) do
  redis.call('ZREM', queue, unpack(ids))
end
if #gone > 0 then
  redis.call('DEL', unpack(gone))
end
if any_returned and channel ~= '' then
  redis.pcall('PUBLISH', channel, 'returned') -- a user may be given no channels: then they poll
end
return reply
