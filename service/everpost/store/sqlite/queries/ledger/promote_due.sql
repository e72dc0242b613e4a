UPDATE task_queue SET status = 'pending', updated_at = :now
WHERE id IN (SELECT id FROM task_queue WHERE status = 'scheduled' AND due_at <= :now ORDER BY due_at LIMIT :limit)
