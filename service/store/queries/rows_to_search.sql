-- As bytes: an inherited row may hold text that is no UTF-8.
SELECT task_id, CAST(title AS BLOB), CAST(error_message AS BLOB), CAST(task_data AS BLOB)
FROM publish_tasks WHERE task_id > :after ORDER BY task_id LIMIT :limit
