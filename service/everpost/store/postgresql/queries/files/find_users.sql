SELECT u.task_id FROM file_uses AS u
WHERE u.file_id = :file_id AND EXISTS (SELECT FROM task_queue AS t WHERE t.task_id = u.task_id)
LIMIT :limit
