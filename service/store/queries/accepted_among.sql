-- For the relay: the tasks that it puts back.
SELECT task_id, CAST(data AS BLOB) AS data, priority, due_at, retry_of, root_id, generation, batch_id,
    platform, account_id, title, created_at, accepted_by
FROM task_queue
WHERE task_id IN (SELECT value FROM json_each(:task_ids)) AND accepted_by IS NOT NULL
