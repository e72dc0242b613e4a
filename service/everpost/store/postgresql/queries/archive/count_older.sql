-- The tasks that page_older.sql finds.
SELECT count(*) FROM publish_tasks
WHERE status = 'success' AND job_id IS NOT NULL AND coalesce(completed_at, updated_at, created_at) < :before
    AND (right(coalesce(completed_at, updated_at, created_at), 1) = 'Z'
        OR coalesce(completed_at, updated_at, created_at) < :day_before)
