INSERT INTO task_traces (task_id, context, origin)
SELECT task_id, context, origin FROM json_to_recordset(:rows::json) AS row (task_id text, context text, origin text)
ORDER BY task_id
ON CONFLICT (task_id) DO NOTHING
