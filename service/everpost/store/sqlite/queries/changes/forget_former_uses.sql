-- The uses of files by the version of a task before its edit.
DELETE FROM file_uses WHERE task_id = :task_id
