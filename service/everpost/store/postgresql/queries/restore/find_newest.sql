-- The time up to which the database has everything. Rows of an original file are left out: they hold local times.
SELECT max(at) FROM (
    SELECT max(updated_at) AS at FROM task_queue WHERE accepted_by IS NOT NULL
    UNION ALL
    SELECT max(updated_at) FROM publish_tasks WHERE queued_at IS NOT NULL
) AS newest
