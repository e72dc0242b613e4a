-- The tasks that page_older.sql finds.
SELECT count(*) FROM publish_tasks INDEXED BY publish_tasks_ended
WHERE status = 'success' AND coalesce(completed_at, updated_at, created_at) < :before AND job_id IS NOT NULL
    AND typeof(coalesce(completed_at, updated_at, created_at)) = 'text'
    AND (coalesce(completed_at, updated_at, created_at) LIKE '%Z'
        OR coalesce(completed_at, updated_at, created_at) < :day_before)
