-- The task that has waited longest of those that could have run by now.
SELECT task_id, status, created_at
FROM task_queue
WHERE accepted_by IS NOT NULL AND (due_at IS NULL OR due_at <= :now)
ORDER BY created_at
LIMIT 1
