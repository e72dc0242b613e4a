-- The beginning of the scripts that tell readers of events what has happened to tasks: docs/events.md, and
-- service/everpost/queue/event_log.py, which reads what they write.
--
-- The stream has an entry for each batch of tasks: what happened (t), the ids, one on each line (i), the time in ms (m), the
-- bytes of all entries so far (b), and what else there is to tell, one line for each id (x). Entries are numbered without
-- a gap, so a reader that finds a gap has missed something. The hash exists while readers want events: without it, nothing
-- is written. If an entry cannot be written, both go, and all readers learn from that that they have missed something.
local EVENTS, STATE = 'everpost:events', 'everpost:events:state'
local ENTRY_BYTES = 96 -- of an entry, beside its ids

local function is_heard()
  return redis.call('EXISTS', STATE) == 1
end

-- All of it is in one function, so that calls without readers make no others.
local function tell(kind, ids, now, more)
  local function shorten()
    redis.call('XTRIM', EVENTS, 'MAXLEN', '~', math.floor(redis.call('XLEN', EVENTS) * 3 / 4))
    local first = redis.call('XRANGE', EVENTS, '-', '+', 'COUNT', 1)[1]
    for i = 1, first and #first[2] or 0, 2 do
      if first[2][i] == 'b' then
        local most = tonumber(first[2][i + 1]) + redis.call('HGET', STATE, 'most')
        redis.call('HSET', STATE, 'until', string.format('%.0f', most))
      end
    end
  end

  local function write(text)
    local number = redis.pcall('HINCRBY', STATE, 'n', 1)
    if type(number) ~= 'number' then
      return false
    end
    local bytes = redis.pcall('HINCRBY', STATE, 'bytes', ENTRY_BYTES + #text + (more and #more or 0))
    if type(bytes) ~= 'number' then
      return false
    end
    local fields = { 't', kind, 'i', text, 'm', string.format('%.0f', now), 'b', string.format('%.0f', bytes) }
    if more then
      fields[9], fields[10] = 'x', more
    end
    if type(redis.pcall('XADD', EVENTS, string.format('%.0f-0', number), unpack(fields))) ~= 'string' then
      return false
    end
    if number == 1 then
      redis.call('PEXPIRE', EVENTS, redis.call('PTTL', STATE))
    end
    local most = tonumber(redis.call('HGET', STATE, 'until'))
    if most and bytes > most then
      shorten()
    end
    return most ~= nil
  end

  if #ids > 0 then
    local has_run, is_written = pcall(write, table.concat(ids, '\n')) -- it fails at what other programs wrote there
    if not (has_run and is_written) then
      redis.pcall('UNLINK', EVENTS, STATE) -- a user may lack the right to do this, too
    end
  end
end
