SELECT task_id FROM operation_tasks
WHERE operation_id = :operation_id AND task_id > :after ORDER BY task_id LIMIT :limit
