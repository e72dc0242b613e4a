DELETE FROM file_uses WHERE file_id = :file_id AND task_id = :task_id
