SELECT task_id FROM task_queue ORDER BY task_id
