-- The tasks that purge.sql destroys.
SELECT count(*) FROM publish_tasks_archive WHERE archived_at < :before AND coalesce(completed_at, '') < :before
