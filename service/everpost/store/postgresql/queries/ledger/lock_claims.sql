-- The facts for rules, for lists of attempts and for checkpoints. Until the transaction ends, no other one changes these tasks.
SELECT
    task_id, coalesce(status, '') AS status, coalesce(retry_count, 0) AS spent, sending,
    coalesce(root_id, task_id) AS chain_id, coalesce(generation, 0) AS generation, platform, attempts,
    checkpoint, checkpoint_attempt,
    late_at, CASE WHEN status = 'scheduled' THEN due_at END AS due_at,
    started_at, sending_since, greatest(created_at, due_at) AS earliest
FROM task_queue
WHERE task_id = ANY (:task_ids)
ORDER BY task_id
FOR UPDATE
