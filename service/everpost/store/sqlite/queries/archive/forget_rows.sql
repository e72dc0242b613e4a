DELETE FROM publish_tasks WHERE task_id IN (SELECT value FROM json_each(:rows))
