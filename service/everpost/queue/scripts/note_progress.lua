-- Writes or removes notes of progress; each expires by itself.
-- KEYS: the notes.  ARGV: the life of a note in seconds, then the text of each; an empty one removes the note.
for number, key in ipairs(KEYS) do
    local text = ARGV[number + 1]
    if text == '' then
        redis.call('DEL', key)
    else
        redis.call('SET', key, text, 'EX', ARGV[1])
    end
end
