-- Ended tasks move from the history into the archive (I1).
WITH moved AS (
    DELETE FROM publish_tasks WHERE job_id = ANY (:task_ids::text[]) RETURNING *
)
INSERT INTO publish_tasks_archive (
    job_id, plan_id, package_id, platform, account_id, material_id, title, tags, cover, schedule_time,
    publish_mode, status, external_user_id, external_account_id, result_metrics, error_message, created_at, updated_at,
    published_at, completed_at, task_data, priority, retry_of, root_id, generation, batch_id, attempts, error_class,
    result, provider_post_id, publish_url, queued_at, started_at, raw_job, checkpoint, checkpoint_attempt,
    archived_at, archive_reason, callback_url, submitted_by
)
SELECT
    job_id, plan_id, package_id, platform, account_id, material_id, title, tags, cover, schedule_time,
    publish_mode, status, external_user_id, external_account_id, result_metrics, error_message, created_at, updated_at,
    published_at, completed_at, task_data, priority, retry_of, root_id, generation, batch_id, attempts, error_class,
    result, provider_post_id, publish_url, queued_at, started_at, raw_job, checkpoint, checkpoint_attempt,
    :now, :reason, callback_url, submitted_by
FROM moved
