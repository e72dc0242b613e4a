-- Writes or removes notes of progress; each expires by itself. Tells readers of events of those it writes. It follows
-- telling.lua.
-- KEYS: the notes.  ARGV: the life of a note in seconds, how many bytes of a key are before the task's id, then the text of
-- each; an empty one removes the note.
local ids, texts = {}, {}
for number, key in ipairs(KEYS) do
    local text = ARGV[number + 2]
    if text == '' then
        redis.call('DEL', key)
    else
        redis.call('SET', key, text, 'EX', ARGV[1])
        ids[#ids + 1], texts[#texts + 1] = string.sub(key, ARGV[2] + 1), text
    end
end
if #ids > 0 and is_heard() then
    local clock = redis.call('TIME')
    tell('progress', ids, clock[1] * 1000 + math.floor(clock[2] / 1000), table.concat(texts, '\n'))
end
