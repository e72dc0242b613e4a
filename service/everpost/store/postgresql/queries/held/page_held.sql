SELECT task_id FROM task_queue WHERE task_id > :after AND sending = 0 ORDER BY task_id LIMIT :limit
