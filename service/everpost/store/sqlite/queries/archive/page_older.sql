-- The next successes that ended before a time, in the order in which they ended, after (:ended_at, :row). A time without
-- Z is a local one of an original file; a day covers the offset of every zone.
-- INDEXED BY: else SQLite sorts all successes at each step, while no other process can write.
SELECT task_id, job_id, coalesce(completed_at, updated_at, created_at), octet_length(task_data)
FROM publish_tasks INDEXED BY publish_tasks_ended
WHERE status = 'success' AND coalesce(completed_at, updated_at, created_at) < :before AND job_id IS NOT NULL
    AND coalesce(completed_at, updated_at, created_at) >= :ended_at
    AND (coalesce(completed_at, updated_at, created_at) > :ended_at OR task_id > :row)
    AND typeof(coalesce(completed_at, updated_at, created_at)) = 'text'
    AND (coalesce(completed_at, updated_at, created_at) LIKE '%Z'
        OR coalesce(completed_at, updated_at, created_at) < :day_before)
ORDER BY coalesce(completed_at, updated_at, created_at), task_id
LIMIT :limit
