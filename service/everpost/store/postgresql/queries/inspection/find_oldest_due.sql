-- Of the tasks that could have run by now, the one that has waited longest.
SELECT task_id, status, created_at
FROM task_queue
WHERE accepted_by IS NOT NULL AND (due_at IS NULL OR due_at <= :now)
ORDER BY created_at
LIMIT 1
