INSERT INTO operation_skips (operation_id, task_id, reason)
SELECT operation_id, task_id, reason
FROM json_to_recordset(:rows) AS given (operation_id text, task_id text, reason text)
ORDER BY task_id
ON CONFLICT DO NOTHING
