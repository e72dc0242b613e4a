SELECT task_id FROM failures WHERE task_id IN (SELECT value FROM json_each(:task_ids))
