-- A task that ended later than :before was archived while the clock was set back, and stays. Of two processes that purge
-- at once, each takes other rows.
DELETE FROM publish_tasks_archive WHERE archived_row = ANY (ARRAY(
    SELECT archived_row FROM publish_tasks_archive
    WHERE archived_at < :before AND coalesce(completed_at, '') < :before
    ORDER BY archived_at LIMIT :limit FOR UPDATE SKIP LOCKED
))
