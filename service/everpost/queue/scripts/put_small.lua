-- Writes something small, even if Redis has no memory left. Redis refuses a command that needs memory only as a script's
-- first write (scriptVerifyOOM in its script.c), and DEL needs none.
-- KEYS: the key.  ARGV: the command, and its arguments after the key.
redis.call('DEL', 'everpost:none')
return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))
