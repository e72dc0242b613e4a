DELETE FROM publish_tasks_archive WHERE task_id IN (SELECT CAST(value AS INTEGER) FROM json_each(:rows))
