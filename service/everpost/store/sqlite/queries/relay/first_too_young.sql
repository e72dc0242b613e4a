-- The first row that is too young for a walk of the relay: the next walk begins there, because rows are not in the order
-- of their times. The + makes SQLite follow the index of times, whose end is short, instead of the whole ledger.
SELECT min(+id) AS id FROM task_queue WHERE created_at > :before AND created_at <= :ahead
