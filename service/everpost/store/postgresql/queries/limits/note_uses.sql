INSERT INTO limit_uses (used_at, task_id, lane)
SELECT used_at, task_id, lane FROM json_to_recordset(:rows) AS given (used_at text, task_id text, lane text)
ORDER BY used_at, task_id
ON CONFLICT DO NOTHING
