task.task_id, 'publish', priority, status, task_data, task.created_at, task.created_at,
    platform, account_id, title, due_at, retry_of, root_id, generation, batch_id, accepted_by