-- Where tasks and retry chains are, at one moment, with the facts for rules. One id may be in several rows: the last counts,
-- which is the ledger's, or else the history's, or else the newest of the archive.
SELECT 'archive' AS place, job_id AS task_id, status, coalesce(root_id, job_id) AS chain_id, generation,
    NULL::text AS accepted_by, NULL::integer AS sending, callback_url IS NOT NULL AS calls_back, submitted_by,
    coalesce(octet_length(task_data), octet_length(raw_job)) AS size_bytes, archived_row AS "row"
FROM publish_tasks_archive
WHERE job_id = ANY (:task_ids::text[]) OR job_id = ANY (:chain_ids::text[]) OR root_id = ANY (:chain_ids)
UNION ALL
SELECT 'history', job_id, status, coalesce(root_id, job_id), generation, NULL, NULL, callback_url IS NOT NULL, submitted_by,
    coalesce(octet_length(task_data), octet_length(raw_job)), 0
FROM publish_tasks
WHERE job_id = ANY (:task_ids) OR job_id = ANY (:chain_ids) OR root_id = ANY (:chain_ids)
UNION ALL
SELECT 'ledger', task_id, status, coalesce(root_id, task_id), generation, accepted_by, sending,
    callback_url IS NOT NULL, submitted_by, octet_length(data), 0
FROM task_queue
WHERE task_id = ANY (:task_ids) OR accepted_by IS NOT NULL AND coalesce(root_id, task_id) = ANY (:chain_ids)
ORDER BY place, "row"
