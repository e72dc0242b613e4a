-- The facts of the tasks that are in the ledger; and the data of each that has the expected size, in bytes. A size of -1
-- asks for no data. The version of the accounts tells whether the worker knows all accounts that were registered before.
SELECT
    t.task_id, coalesce(t.status, '') AS status, coalesce(t.retry_count, 0) AS spent, t.sending,
    coalesce(t.root_id, t.task_id) AS chain_id, coalesce(t.generation, 0) AS generation, t.platform, t.attempts,
    t.checkpoint,
    t.late_at, CASE WHEN t.status = 'scheduled' THEN t.due_at END AS due_at,
    CASE WHEN octet_length(t.data) = w.size THEN t.data END AS data,
    (SELECT value FROM everpost_meta WHERE key = 'accounts') AS accounts_version
FROM task_queue AS t JOIN unnest(:task_ids::text[], :sizes::integer[]) AS w (task_id, size) ON t.task_id = w.task_id
WHERE t.task_id = ANY (:task_ids)
