SELECT recurrence_id, name, version, status, reason, cron, timezone, until_at, task_data, platform, account_id, next_at, last_at,
    last_task_id, made, missed, created_at, updated_at
FROM recurring_posts WHERE name > :after ORDER BY name LIMIT :limit
