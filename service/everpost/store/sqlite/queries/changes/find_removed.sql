-- The newest archived row of each ended task that a person removed, unless its id is in use.
SELECT max(task_id) AS number, job_id AS task_id, status, platform, account_id, created_at,
    coalesce(completed_at, updated_at, created_at) AS ended_at, error_class, error_message
FROM publish_tasks_archive
WHERE job_id IN (SELECT value FROM json_each(:task_ids)) AND archive_reason = 'deleted'
    AND status IN ('success', 'failed', 'cancelled', 'unknown')
    AND NOT EXISTS (SELECT 1 FROM publish_tasks AS h WHERE h.job_id = publish_tasks_archive.job_id)
    AND NOT EXISTS (SELECT 1 FROM task_queue AS q WHERE q.task_id = publish_tasks_archive.job_id)
GROUP BY job_id
