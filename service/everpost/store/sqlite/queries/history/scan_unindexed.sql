-- The newest rows of the history that the search index lacks, with the columns of scan_waiting.sql.
SELECT task_id, CAST(title AS BLOB), CAST(error_message AS BLOB), substr(CAST(task_data AS BLOB), 1, :most)
FROM publish_tasks NOT INDEXED
WHERE task_id > max(:searched, ifnull((SELECT max(task_id) FROM publish_tasks), 0) - :scanned)
