INSERT INTO publish_tasks (job_id, platform, account_id, material_id, title, tags, status, error_message, created_at, updated_at)
VALUES (:task_id, '1', 'old_account', '77', '旧任务', '["旧"]', 'failed', 'cookie expired', '2025-11-03 09:30:00',
    '2025-11-03 09:30:00')
