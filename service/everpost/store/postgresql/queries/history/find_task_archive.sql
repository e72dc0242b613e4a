SELECT job_id AS task_id, status, platform, account_id, title, priority, created_at, updated_at,
    queued_at, started_at, completed_at, published_at, error_class, error_message, attempts, result,
    provider_post_id, publish_url, retry_of, root_id, generation, batch_id, submitted_by, task_data AS data, raw_job,
    checkpoint, checkpoint_attempt,
    false AS inherited,
    archived_at, archive_reason,
    {related}
FROM publish_tasks_archive AS t WHERE job_id = :task_id ORDER BY archived_row DESC LIMIT 1
