-- The keys of scheduled tasks that are due in a time, behind a key, the earliest first.
SELECT promote_at AS due_at, task_id FROM task_queue
WHERE promote_at IS NOT NULL AND promote_at >= :from AND promote_at < :until AND (promote_at, task_id) > (:at, :id)
ORDER BY promote_at, task_id LIMIT :limit
