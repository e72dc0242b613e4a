-- Of the tasks that were archived one by one; see purge_month.sql for the others. A task that ended later than :before was
-- archived while the clock was set back, and stays. Of two processes that purge at once, each takes other rows.
DELETE FROM ONLY publish_tasks_archive WHERE archived_row = ANY (ARRAY(
    SELECT archived_row FROM ONLY publish_tasks_archive
    WHERE archived_at < :before AND coalesce(completed_at, '') < :before
    ORDER BY archived_at LIMIT :limit FOR UPDATE SKIP LOCKED
))
RETURNING job_id
