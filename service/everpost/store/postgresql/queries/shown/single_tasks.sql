SELECT job_id, platform, status, priority, retry_of, title, error_class
FROM publish_tasks WHERE platform <> 'bilibili' ORDER BY created_at, job_id
