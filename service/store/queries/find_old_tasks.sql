-- A time without Z is a naive local one of an original file; a day covers every zone's offset.
SELECT task_id, length(CAST(task_data AS BLOB)) FROM publish_tasks
WHERE status = 'success' AND coalesce(completed_at, updated_at, created_at) < :before AND job_id IS NOT NULL
    AND typeof(coalesce(completed_at, updated_at, created_at)) = 'text'
    AND (coalesce(completed_at, updated_at, created_at) LIKE '%Z'
        OR coalesce(completed_at, updated_at, created_at) < :day_before)
ORDER BY coalesce(completed_at, updated_at, created_at)
LIMIT :limit
