-- As find_rows.sql. Until the transaction ends, no other one changes or moves these tasks.
SELECT 'ledger' AS place, task_id, status, coalesce(root_id, task_id) AS chain_id, generation, accepted_by, sending,
    callback_url IS NOT NULL AS calls_back, submitted_by, octet_length(data) AS size_bytes
FROM task_queue
WHERE task_id = ANY (:task_ids::text[])
    OR accepted_by IS NOT NULL AND coalesce(root_id, task_id) = ANY (:chain_ids::text[])
ORDER BY task_id
FOR UPDATE
