-- A job without a ledger row, as a stock arq client enqueues it.
INSERT INTO publish_tasks (
    job_id, platform, account_id, material_id, title, tags, cover, schedule_time, publish_mode,
    status, error_message, created_at, updated_at, published_at, completed_at, task_data, priority,
    retry_of, attempts, error_class, result, provider_post_id, publish_url, queued_at, started_at, raw_job
) VALUES (
    :task_id, :platform, :account_id, :material_id, :title, :tags, :cover, :schedule_time, :publish_mode,
    :status, :error_message, ifnull(:queued_at, :finished_at), :finished_at,
    iif(:status = 'success', :finished_at, NULL), :finished_at, CAST(:task_data AS TEXT), :priority,
    :retry_of, iif(:attempt IS NULL, NULL, json_array(json(:attempt))), :error_class, CAST(:result AS TEXT),
    :provider_post_id, :publish_url, :queued_at, :started_at, :raw_job
)
