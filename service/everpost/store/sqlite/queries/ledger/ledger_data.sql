SELECT CAST(data AS BLOB) FROM task_queue WHERE task_id = :task_id
