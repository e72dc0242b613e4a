UPDATE task_queue SET sending = NULL, error_message = NULL
WHERE task_id IN (SELECT value FROM json_each(:task_ids)) AND sending = 0
