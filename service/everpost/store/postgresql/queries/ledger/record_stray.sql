-- A job without a ledger row, as a stock arq client enqueues it.
INSERT INTO publish_tasks (
    job_id, platform, account_id, material_id, title, tags, cover, schedule_time, publish_mode,
    status, error_message, created_at, updated_at, published_at, completed_at, task_data, priority,
    retry_of, attempts, error_class, result, provider_post_id, publish_url, queued_at, started_at, raw_job
) VALUES (
    :task_id, left(:platform, 100), left(:account_id, 256), :material_id, :title, :tags, :cover, :schedule_time, :publish_mode,
    :status, :error_message, coalesce(:queued_at, :finished_at), :finished_at,
    CASE WHEN :status = 'success' THEN :finished_at END, :finished_at, :task_data, :priority,
    left(:retry_of, 256), '[' || :attempt || ']', :error_class, :result,
    :provider_post_id, :publish_url, :queued_at, :started_at, :raw_job
)
