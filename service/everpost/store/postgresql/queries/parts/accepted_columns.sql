task_id, task_type, priority, status, data, created_at, updated_at,
    platform, account_id, title, due_at, retry_of, root_id, generation, batch_id, accepted_by, callback_url, late_at,
    submitted_by
