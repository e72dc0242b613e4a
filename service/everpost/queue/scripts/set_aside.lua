-- Moves keys whose type is not the one they have in arq and Everpost out of the way, their content kept.
-- KEYS: the keys.  ARGV: the type that each should have.
-- Answers the keys that were moved, to `everpost:set-aside:` and their name.
local moved = {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= ARGV[i] then
    redis.call('RENAME', key, 'everpost:set-aside:' .. key)
    moved[#moved + 1] = key
  end
end
return moved
