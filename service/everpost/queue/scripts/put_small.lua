-- Writes something small, also where Redis has no memory left: it refuses what needs some only before a script's first
-- write (scriptVerifyOOM in its script.c), and DEL needs none.
-- KEYS: the key.  ARGV: the command, and what follows the key.
redis.call('DEL', 'everpost:none')
return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))
