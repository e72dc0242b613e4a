INSERT INTO limit_uses (used_at, task_id, lane)
SELECT value ->> 'used_at', value ->> 'task_id', value ->> 'lane' FROM json_each(:rows) WHERE true
ON CONFLICT DO NOTHING
