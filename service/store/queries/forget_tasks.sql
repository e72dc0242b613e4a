DELETE FROM task_queue WHERE task_id IN (SELECT value ->> 'task_id' FROM json_each(:records))
