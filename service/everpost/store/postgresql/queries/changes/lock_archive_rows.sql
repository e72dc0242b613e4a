-- As lock_history_rows.sql, and asked after it.
SELECT 'archive' AS place, job_id AS task_id, status, coalesce(root_id, job_id) AS chain_id, generation
FROM publish_tasks_archive
WHERE job_id = ANY (:task_ids::text[]) OR job_id = ANY (:chain_ids::text[]) OR root_id = ANY (:chain_ids)
ORDER BY archived_row
FOR UPDATE
