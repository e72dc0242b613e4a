-- Tasks in the form they go back to Redis, and inherited ones, which do not. If the data is larger than :most bytes, only
-- its size is read. A condition on accepted_by would let PostgreSQL choose another index than the primary key.
SELECT octet_length(data) AS size_bytes, CASE WHEN octet_length(data) <= :most THEN data END AS data,
    task_id, priority, due_at, retry_of, root_id, generation, batch_id,
    platform, account_id, title, created_at, accepted_by
FROM task_queue
WHERE task_id = ANY (:task_ids)
