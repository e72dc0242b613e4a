DELETE FROM task_queue WHERE task_id IN (SELECT value FROM json_each(:task_ids)) RETURNING task_id
