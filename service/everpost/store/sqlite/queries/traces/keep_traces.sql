-- :rows is a JSON list of [task_id, context, origin].
INSERT INTO task_traces (task_id, context, origin)
SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:rows) WHERE TRUE
ON CONFLICT (task_id) DO NOTHING
