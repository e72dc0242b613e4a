task.task_id, 'publish', priority, status, task_data, task.created_at, task.created_at,
    left(platform, 100), left(account_id, 256), title, due_at, left(retry_of, 256), left(root_id, 256), generation,
    left(batch_id, 256), accepted_by, callback_url, late_at, submitted_by
