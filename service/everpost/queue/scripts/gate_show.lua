-- What waits, and what is in use.
--
-- ARGV  1 most scopes, 2 further scopes that are shown also if nothing waits behind them ...
-- Returns {how many tasks are parked in all, scopes}, each scope as {scope, kind or "", until when (ms) or "", tasks that
-- wait behind it, tasks that run, attempts of the day}.
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local MOST_LANES = 1000 -- are counted of a scope

local function show(scope)
  local waiting = 0
  for _, lane in ipairs(redis.call('ZRANGE', 'everpost:behind:' .. scope, 0, MOST_LANES - 1)) do
    waiting = waiting + redis.call('ZCARD', 'everpost:parked:' .. lane)
  end
  local why = redis.call('HGET', 'everpost:why', scope)
  local kind, until_ms = string.match(waiting > 0 and why or '', '^(%S+) (%d*)')
  local day = redis.call('HMGET', 'everpost:day:' .. scope, 'ends', 'used')
  local is_today = day[1] and tonumber(day[1]) > now
  local running = redis.call('ZCARD', 'everpost:permits:' .. scope)
  return { scope, kind or '', until_ms or '', waiting, running, is_today and tonumber(day[2]) or 0 }
end

local reply, seen = {}, {}
local function add(scopes, first)
  for i = first, #scopes do
    local scope = scopes[i]
    if not seen[scope] and #reply < tonumber(ARGV[1]) then
      seen[scope] = true
      reply[#reply + 1] = show(scope)
    end
  end
end
add(ARGV, 2)
add(redis.call('ZRANGE', 'everpost:openings', 0, tonumber(ARGV[1])), 1)
return { redis.call('HLEN', 'everpost:parked'), reply }
