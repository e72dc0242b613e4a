-- A kind of task that is not ours, as the original also queued, is nothing to publish again.
SELECT CAST(data AS BLOB), priority, platform, account_id, NULL, title, NULL, NULL, NULL, NULL, status
FROM task_queue WHERE task_id = :task_id AND task_type IN ('publish', 'batch_publish')
