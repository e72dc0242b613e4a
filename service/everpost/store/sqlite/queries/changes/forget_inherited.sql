DELETE FROM task_queue WHERE id = :row
