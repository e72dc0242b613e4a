-- As lock_ledger_rows.sql, and asked after it: a task that was moved in between is here by now.
SELECT 'history' AS place, job_id AS task_id, status, coalesce(root_id, job_id) AS chain_id, generation
FROM publish_tasks
WHERE job_id = ANY (:task_ids::text[]) OR job_id = ANY (:chain_ids::text[]) OR root_id = ANY (:chain_ids)
ORDER BY job_id
FOR UPDATE
