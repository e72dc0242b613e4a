-- The original also queued other kinds of tasks; those cannot be published again.
SELECT t.task_id AS id, CAST(t.data AS BLOB), t.priority, t.platform, t.account_id, NULL, t.title, NULL, NULL,
    NULL, NULL, NULL
FROM json_each(:task_ids) AS wanted CROSS JOIN task_queue AS t ON t.task_id = wanted.value
WHERE t.task_type IN ('publish', 'batch_publish')
