-- Finds tasks whose jobs Redis has lost, or would run too late.
--
-- ARGV  1 a msgpack list (cheaper to write than as many arguments) with three elements for each task: its id, its queue,
--       its due time (ms; 0 means at once)
--       2 the caller's time (ms)
-- Answers the positions of these tasks, from 1 on. A job that would run long after its due time counts, because a clock was
-- set back. A task that a worker holds does not count, nor does one that waits in a lane (gate.lua). One command asks for
-- many tasks: the relay looks for all that wait, again and again.
local PUT_OFF = 60000
local UNBOUNDED_LEASE = 15000 -- neither we nor arq write a lease without an expiry
local MOST = 1000 -- arguments of one command
local PARKED = 'everpost:parked:'
local now = redis.call('TIME')[1] * 1000
local ahead = now - tonumber(ARGV[2])
local tasks = cmsgpack.unpack(ARGV[1])

-- What a command finds under a key for the tasks at these positions: a score or a lane for each, or false. What other
-- programs wrote into a key that may be wrong counts as nothing.
local function look_up(call, command, key, positions)
  local all = {}
  for first = 1, #positions, MOST do
    local ids = {}
    for i = first, math.min(first + MOST - 1, #positions) do
      ids[#ids + 1] = tasks[positions[i]]
    end
    local found = call(command, key, unpack(ids))
    for i = 1, #ids do
      all[first + i - 1] = not found.err and found[i]
    end
  end
  return all
end

local function append(groups, name, position)
  local group = groups[name]
  if group then
    group[#group + 1] = position
  else
    groups[name] = { position }
  end
end

local by_queue, by_lane, placed, elsewhere, nowhere = {}, {}, {}, {}, {}
for i = 1, #tasks, 3 do
  append(by_queue, tasks[i + 1], i)
end
for queue, positions in pairs(by_queue) do
  for n, score in ipairs(look_up(redis.call, 'ZMSCORE', queue, positions)) do
    local i = positions[n]
    local waits = score and tonumber(score) <= math.max(now, tasks[i + 2] + ahead) + PUT_OFF
    local list = waits and placed or elsewhere
    list[#list + 1] = i
  end
end
for n, lane in ipairs(look_up(redis.pcall, 'HMGET', 'everpost:parked', elsewhere)) do
  append(by_lane, lane, elsewhere[n])
end
for lane, positions in pairs(by_lane) do
  local is_known = lane and redis.pcall('HEXISTS', 'everpost:lanes', string.sub(lane, #PARKED + 1)) == 1
  for n, score in ipairs(is_known and look_up(redis.pcall, 'ZMSCORE', lane, positions) or positions) do
    local list = is_known and score and placed or nowhere
    list[#list + 1] = positions[n]
  end
end

-- Moves those whose payload is gone from `placed` to `nowhere`.
for first = 1, #placed, MOST do
  local keys = {}
  for i = first, math.min(first + MOST - 1, #placed) do
    keys[#keys + 1] = 'arq:job:' .. tasks[placed[i]]
  end
  if redis.call('EXISTS', unpack(keys)) < #keys then
    for i, key in ipairs(keys) do
      if redis.call('EXISTS', key) == 0 then
        nowhere[#nowhere + 1] = placed[first + i - 1]
      end
    end
  end
end

local function is_held(id)
  local ttl = redis.call('PTTL', 'arq:in-progress:' .. id)
  if ttl == -1 then
    redis.call('PEXPIRE', 'arq:in-progress:' .. id, UNBOUNDED_LEASE)
  end
  return ttl ~= -2
end

local answers = {}
table.sort(nowhere)
for _, i in ipairs(nowhere) do
  if not is_held(tasks[i]) then
    answers[#answers + 1] = (i + 2) / 3
  end
end
return answers
