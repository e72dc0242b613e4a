SELECT recurrence_id, name, version, status, reason, cron, timezone, until_at, task_data, platform, account_id, next_at, last_at,
    last_task_id, made, missed, created_at, updated_at
FROM recurring_posts WHERE status = 'active' AND next_at <= :before ORDER BY next_at LIMIT :limit
