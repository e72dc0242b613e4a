-- As lock_ledger_rows.sql, and asked after it: a task that ended in between is here by now. Only a transaction
-- that has the lock of its chain moves a task from the history to the archive.
WITH history AS (
    SELECT job_id AS task_id, status, coalesce(root_id, job_id) AS chain_id, generation, callback_url IS NOT NULL AS calls_back,
        submitted_by,
        coalesce(octet_length(task_data), octet_length(raw_job)) AS size_bytes
    FROM publish_tasks
    WHERE job_id = ANY (:task_ids::text[]) OR job_id = ANY (:chain_ids::text[]) OR root_id = ANY (:chain_ids)
    ORDER BY job_id
    FOR UPDATE
), archive AS (
    SELECT job_id AS task_id, status, coalesce(root_id, job_id) AS chain_id, generation, callback_url IS NOT NULL AS calls_back,
        submitted_by,
        coalesce(octet_length(task_data), octet_length(raw_job)) AS size_bytes, archived_row
    FROM publish_tasks_archive
    WHERE job_id = ANY (:task_ids) OR job_id = ANY (:chain_ids) OR root_id = ANY (:chain_ids)
    ORDER BY job_id, archived_row
    FOR UPDATE
)
SELECT 'archive' AS place, task_id, status, chain_id, generation, calls_back, submitted_by, size_bytes, archived_row AS "row" FROM archive
UNION ALL
SELECT 'history', task_id, status, chain_id, generation, calls_back, submitted_by, size_bytes, 0 FROM history
ORDER BY place, "row"
