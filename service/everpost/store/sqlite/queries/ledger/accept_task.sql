INSERT INTO task_queue (
    task_id, task_type, priority, status, data, created_at, updated_at,
    platform, account_id, title, due_at, retry_of, root_id, generation, batch_id, accepted_by, callback_url
) VALUES (
    :task_id, 'publish', :priority, :status, :task_data, :created_at, :created_at,
    :platform, :account_id, :title, :due_at, :retry_of, :root_id, :generation, :batch_id, :accepted_by,
    :callback_url
)
