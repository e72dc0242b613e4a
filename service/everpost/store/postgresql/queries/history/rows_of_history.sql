-- The columns of `TaskRow`, in its order.
SELECT job_id AS task_id, 'history' AS place, false AS inherited, status, platform, account_id, title, priority,
    created_at, updated_at, NULL AS due_at, started_at, completed_at, error_class, error_message, retry_of, batch_id,
    attempts, provider_post_id, publish_url, NULL AS evidence, submitted_by
FROM unnest(:task_ids::text[]) AS wanted (id) JOIN publish_tasks ON job_id = wanted.id
