-- Locks ids until the end of the transaction. A task that is in no table yet has no row to lock.
SELECT count(pg_advisory_xact_lock(hashtextextended(task_id, 0)))
FROM (SELECT DISTINCT task_id FROM unnest(:task_ids::text[]) AS task_id ORDER BY task_id) AS sorted
