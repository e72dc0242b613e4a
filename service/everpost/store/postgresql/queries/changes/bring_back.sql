-- Removed tasks move from the archive back into the history (I1), without their callback_url, which the next statement
-- sets: else the insert would end them once more. Of several rows with one id, all go, and the newest comes back.
WITH moved AS (
    DELETE FROM ONLY publish_tasks_archive AS a
    WHERE job_id = ANY (:task_ids::text[]) AND archive_reason = 'deleted'
        AND status IN ('success', 'failed', 'cancelled', 'unknown')
        AND NOT EXISTS (SELECT FROM publish_tasks AS h WHERE h.job_id = a.job_id)
        AND NOT EXISTS (SELECT FROM task_queue AS q WHERE q.task_id = a.job_id)
    RETURNING *
), kept AS (
    INSERT INTO publish_tasks (
    job_id, plan_id, package_id, platform, account_id, material_id, title, tags, cover, schedule_time,
    publish_mode, status, external_user_id, external_account_id, result_metrics, error_message, created_at, updated_at,
    published_at, completed_at, task_data, priority, retry_of, root_id, generation, batch_id, attempts, error_class,
    result, provider_post_id, publish_url, queued_at, started_at, raw_job, checkpoint, checkpoint_attempt, submitted_by
    )
    SELECT DISTINCT ON (job_id)
    job_id, plan_id, package_id, platform, account_id, material_id, title, tags, cover, schedule_time,
    publish_mode, status, external_user_id, external_account_id, result_metrics, error_message, created_at, updated_at,
    published_at, completed_at, task_data, priority, retry_of, root_id, generation, batch_id, attempts, error_class,
    result, provider_post_id, publish_url, queued_at, started_at, raw_job, checkpoint, checkpoint_attempt, submitted_by
    FROM moved ORDER BY job_id, archived_row DESC
)
SELECT DISTINCT ON (job_id) job_id AS task_id, status, platform, account_id, created_at,
    coalesce(completed_at, updated_at, created_at) AS ended_at, error_class, error_message, callback_url
FROM moved ORDER BY job_id, archived_row DESC
