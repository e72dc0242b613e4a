-- Compare-and-set: no row if it was changed meanwhile, or its next occurrence was made.
UPDATE recurring_posts SET name = :name, version = :version, status = :status, reason = :reason, cron = :cron, timezone = :timezone,
    until_at = :until_at, task_data = :task_data, platform = :platform, account_id = :account_id, next_at = :next_at,
    last_at = :last_at, last_task_id = :last_task_id, made = :made, missed = :missed, updated_at = :updated_at
WHERE recurrence_id = :recurrence_id AND version = :old_version AND status = :old_status
    AND next_at IS :old_next_at
RETURNING recurrence_id
