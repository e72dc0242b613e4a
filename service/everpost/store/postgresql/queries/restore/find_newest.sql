-- The time up to which the database has everything. Rows of an original file are left out: they hold local times.
SELECT max(at) FROM (
    SELECT max(updated_at) AS at FROM task_queue WHERE accepted_by IS NOT NULL
    UNION ALL
    SELECT updated_at FROM (
        SELECT updated_at FROM publish_tasks WHERE status = 'success' AND queued_at IS NOT NULL
        ORDER BY coalesce(completed_at, updated_at, created_at) DESC LIMIT 1
    ) AS success
    UNION ALL
    SELECT updated_at FROM (
        SELECT updated_at FROM publish_tasks WHERE status <> 'success' AND queued_at IS NOT NULL
        ORDER BY coalesce(completed_at, updated_at, created_at) DESC LIMIT 1
    ) AS other
) AS newest
