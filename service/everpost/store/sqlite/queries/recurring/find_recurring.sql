-- By id, or else by name.
SELECT recurrence_id, name, version, status, reason, cron, timezone, until_at, task_data, platform, account_id, next_at, last_at,
    last_task_id, made, missed, created_at, updated_at
FROM recurring_posts WHERE recurrence_id = :key OR name = :key
ORDER BY CASE WHEN recurrence_id = :key THEN 0 ELSE 1 END LIMIT 1
