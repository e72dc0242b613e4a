-- The next successes that ended before a time, in the order in which they ended, after (:ended_at, :task_id). A time
-- without Z is a local one of an original file; a day covers the offset of every zone.
SELECT job_id AS task_id, coalesce(completed_at, updated_at, created_at) AS ended_at,
    coalesce(octet_length(task_data), 0) AS size_bytes
FROM publish_tasks
WHERE status = 'success' AND job_id IS NOT NULL
    AND coalesce(completed_at, updated_at, created_at) < :before
    AND coalesce(completed_at, updated_at, created_at) >= :ended_at
    AND (coalesce(completed_at, updated_at, created_at) > :ended_at OR job_id > :task_id)
    AND (right(coalesce(completed_at, updated_at, created_at), 1) = 'Z'
        OR coalesce(completed_at, updated_at, created_at) < :day_before)
ORDER BY coalesce(completed_at, updated_at, created_at), job_id
LIMIT :limit
