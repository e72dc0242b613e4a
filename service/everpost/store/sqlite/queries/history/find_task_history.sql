SELECT job_id AS task_id, task_id AS "row", status, platform, account_id, title, priority, created_at, updated_at,
    queued_at, started_at, completed_at, published_at, error_class, error_message, attempts, result,
    provider_post_id, publish_url, retry_of, root_id, generation, batch_id, submitted_by, CAST(task_data AS BLOB) AS data, raw_job,
    checkpoint, checkpoint_attempt,
    0 AS inherited,
    {related}
FROM publish_tasks AS t WHERE job_id = :task_id ORDER BY task_id DESC LIMIT 1
