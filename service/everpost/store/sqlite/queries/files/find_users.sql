SELECT u.task_id FROM file_uses AS u CROSS JOIN task_queue AS t ON t.task_id = u.task_id
WHERE u.file_id = :file_id LIMIT :limit
