SELECT id, task_id FROM task_queue WHERE id > :after AND sending = 0 ORDER BY id LIMIT :limit
