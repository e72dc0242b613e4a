-- Moves keys away whose type is not the one they have in arq and Everpost. Their content is kept.
-- KEYS: the keys.  ARGV: the type that each should have.
-- Answers the moved keys. Their new name is `everpost:set-aside:` and the old name.
local moved = {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= ARGV[i] then
    redis.call('RENAME', key, 'everpost:set-aside:' .. key)
    moved[#moved + 1] = key
  end
end
return moved
