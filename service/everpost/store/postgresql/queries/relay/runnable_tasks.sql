-- Tasks in the form they go back to Redis. If the data is larger than :most bytes, only its size is read.
SELECT octet_length(data) AS size_bytes, CASE WHEN octet_length(data) <= :most THEN data END AS data,
    task_id, priority, due_at, retry_of, root_id, generation, batch_id,
    platform, account_id, title, created_at, accepted_by
FROM task_queue
WHERE task_id = ANY (:task_ids) AND accepted_by IS NOT NULL
