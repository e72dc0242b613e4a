-- For the relay: how far it may call the ledger looked through. Commits of two processes may be in another order than
-- their times. The + has SQLite follow the index of times, whose end is short, instead of the whole ledger.
SELECT min(+id) AS id FROM task_queue WHERE created_at > :before AND created_at <= :ahead
