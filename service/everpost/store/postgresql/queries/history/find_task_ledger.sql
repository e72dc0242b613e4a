SELECT task_id, status, platform, account_id, title, priority, created_at, updated_at, due_at, started_at,
    completed_at, error_message, attempts, retry_count AS attempts_spent, sending, result,
    retry_of, root_id, generation, batch_id, submitted_by, data, checkpoint, checkpoint_attempt, late_at,
    accepted_by IS NULL AS inherited,
    {related}
FROM task_queue AS t WHERE task_id = :task_id
