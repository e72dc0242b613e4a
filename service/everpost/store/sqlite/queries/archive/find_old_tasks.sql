-- The next successes that ended before a time, in the order in which they ended, behind (:ended_at, :row). A time without
-- Z is a naive local one of an original file; a day covers every zone's offset.
-- INDEXED BY: SQLite would sort all successes there are, at each step, while nobody else can write.
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
