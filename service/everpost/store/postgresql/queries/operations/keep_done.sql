INSERT INTO operation_tasks (operation_id, task_id)
SELECT operation_id, task_id
FROM json_to_recordset(:rows) AS given (operation_id text, task_id text)
ORDER BY task_id
ON CONFLICT DO NOTHING
