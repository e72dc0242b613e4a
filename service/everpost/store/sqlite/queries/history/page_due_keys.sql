-- The keys of scheduled tasks that are due in a time, behind a key, the earliest first.
SELECT due_at, task_id FROM task_queue INDEXED BY task_queue_scheduled
WHERE status = 'scheduled' AND due_at >= :from AND due_at < :until AND (due_at, task_id) > (:at, :id)
ORDER BY due_at, task_id LIMIT :limit
