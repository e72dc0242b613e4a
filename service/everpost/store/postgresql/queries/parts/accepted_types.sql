task_id text, priority integer, status text, task_data text, created_at text, platform text, account_id text, title text,
    due_at text, retry_of text, root_id text, generation integer, batch_id text, accepted_by text, callback_url text, late_at text
