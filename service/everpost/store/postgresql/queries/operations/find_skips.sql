SELECT task_id, reason FROM operation_skips
WHERE operation_id = :operation_id AND task_id > :after ORDER BY task_id LIMIT :limit
