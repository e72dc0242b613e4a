-- The next ended callbacks of the history. A redelivery retries the callback that its root_id names.
SELECT task_id, status, created_at, job_id, ifnull(root_id, job_id)
FROM publish_tasks
WHERE platform = 'callback' AND (status, created_at, job_id) > (:status, :created_at, :task_id) AND created_at < :before
ORDER BY status, created_at, job_id LIMIT :limit
