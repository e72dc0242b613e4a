-- The new version of a waiting task. One that loses its callback_url still counts for its batch.
UPDATE task_queue SET
    data = :task_data, priority = :priority, platform = :platform, account_id = :account_id, title = :title,
    callback_url = ifnull(:callback_url, iif(callback_url IS NULL, NULL, '')),
    status = iif(:is_rescheduled, :status, status),
    due_at = iif(:is_rescheduled, :due_at, due_at),
    late_at = iif(:has_new_limit, :late_at, late_at),
    checkpoint = iif(:is_rewritten, NULL, checkpoint),
    updated_at = :edited_at
WHERE task_id = :task_id
