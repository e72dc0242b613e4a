-- Without their callback_url, which the next statement sets: else the insert would end them once more.
INSERT INTO publish_tasks (
    job_id, plan_id, package_id, platform, account_id, material_id, title, tags, cover, schedule_time,
    publish_mode, status, external_user_id, external_account_id, result_metrics, error_message, created_at, updated_at,
    published_at, completed_at, task_data, priority, retry_of, root_id, generation, batch_id, attempts, error_class,
    result, provider_post_id, publish_url, queued_at, started_at, raw_job, checkpoint, checkpoint_attempt, submitted_by
)
SELECT
    job_id, plan_id, package_id, platform, account_id, material_id, title, tags, cover, schedule_time,
    publish_mode, status, external_user_id, external_account_id, result_metrics, error_message, created_at, updated_at,
    published_at, completed_at, task_data, priority, retry_of, root_id, generation, batch_id, attempts, error_class,
    result, provider_post_id, publish_url, queued_at, started_at, raw_job, checkpoint, checkpoint_attempt, submitted_by
FROM publish_tasks_archive WHERE task_id IN (SELECT CAST(value AS INTEGER) FROM json_each(:rows)) ORDER BY task_id
