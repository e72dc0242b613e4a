-- The ledger row becomes a history row; the delete that follows is in the same transaction (I1). An inherited row whose
-- id the history has already goes there without it.
INSERT INTO publish_tasks (
    job_id, platform, account_id, material_id, title, tags, cover, schedule_time, publish_mode,
    status, error_message, created_at, updated_at, published_at, completed_at, task_data, priority,
    retry_of, root_id, generation, batch_id, attempts, error_class, result,
    provider_post_id, publish_url, queued_at, started_at
)
SELECT
    iif(accepted_by IS NULL AND EXISTS (SELECT 1 FROM publish_tasks WHERE job_id = :task_id), NULL, task_id),
    ifnull(platform, :platform), ifnull(account_id, :account_id), :material_id, ifnull(title, :title),
    :tags, :cover, :schedule_time, :publish_mode,
    :status, :error_message, created_at, :finished_at, iif(:status = 'success', :finished_at, NULL), :finished_at,
    data, priority, retry_of, root_id, generation, batch_id,
    iif(:attempt IS NULL, attempts, json_insert(ifnull(attempts, '[]'), '$[#]', json(:attempt))),
    :error_class, CAST(:result AS TEXT), :provider_post_id, :publish_url, ifnull(:queued_at, created_at), :started_at
FROM task_queue
WHERE task_id = :task_id
