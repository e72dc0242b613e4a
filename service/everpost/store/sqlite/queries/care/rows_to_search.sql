-- The columns are those of scan_waiting.sql.
SELECT task_id, CAST(title AS BLOB), CAST(error_message AS BLOB), substr(CAST(task_data AS BLOB), 1, :most)
FROM publish_tasks WHERE task_id > :after ORDER BY task_id LIMIT :limit
