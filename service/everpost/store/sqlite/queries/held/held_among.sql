SELECT task_id FROM task_queue WHERE task_id IN (SELECT value FROM json_each(:task_ids)) AND sending = 0
