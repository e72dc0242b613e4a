-- As accept_tasks.sql, but only of tasks that the ledger does not have; also not of one whose retry chain lives (I5).
INSERT INTO task_queue (
    task_id, task_type, priority, status, data, created_at, updated_at,
    platform, account_id, title, due_at, retry_of, root_id, generation, batch_id, accepted_by
)
SELECT
    task_id, 'publish', priority, status, task_data, created_at, created_at,
    platform, account_id, title, due_at, retry_of, root_id, generation, batch_id, accepted_by
FROM json_to_recordset(:rows) AS given (
    task_id text, priority integer, status text, task_data text, created_at text, platform text, account_id text,
    title text, due_at text, retry_of text, root_id text, generation integer, batch_id text, accepted_by text
)
ORDER BY task_id
ON CONFLICT DO NOTHING
RETURNING task_id
