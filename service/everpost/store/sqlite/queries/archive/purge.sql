-- A task that ended later than :before was archived while the clock was set back, and stays.
DELETE FROM publish_tasks_archive WHERE task_id IN (
    SELECT task_id FROM publish_tasks_archive
    WHERE archived_at < :before AND ifnull(CAST(completed_at AS TEXT), '') < :before
    ORDER BY archived_at LIMIT :limit
)
RETURNING job_id
