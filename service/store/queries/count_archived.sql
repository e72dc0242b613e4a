SELECT count(*) FROM publish_tasks_archive WHERE archived_at < :before
