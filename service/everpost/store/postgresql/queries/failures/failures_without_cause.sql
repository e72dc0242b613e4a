-- Failed tasks behind a key, newest first, and whether their causes are known.
SELECT job_id AS task_id, platform, account_id, created_at, coalesce(completed_at, updated_at, created_at) AS ended_at,
    error_class, left(error_message, 2000) AS error_message,
    EXISTS (SELECT FROM failures AS f WHERE f.task_id = h.job_id) AS is_known
FROM publish_tasks AS h
WHERE status = 'failed' AND status <> 'success' AND (created_at, job_id) < (:at, :id) AND job_id IS NOT NULL
ORDER BY created_at DESC, job_id DESC LIMIT :limit
