SELECT pg_advisory_xact_lock(4918270013); -- any number that no other program uses
