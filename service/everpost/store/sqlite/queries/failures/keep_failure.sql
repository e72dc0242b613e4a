-- The cause of a failed task that is in the history.
INSERT OR IGNORE INTO failures (task_id, cause, platform, account_id, created_at, ended_s)
SELECT :task_id, :cause, :platform, :account_id, created_at, :ended_s
FROM publish_tasks WHERE job_id = :task_id AND status = 'failed'
