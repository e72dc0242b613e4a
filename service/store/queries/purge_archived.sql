DELETE FROM publish_tasks_archive WHERE task_id IN (
    SELECT task_id FROM publish_tasks_archive WHERE archived_at < :before ORDER BY archived_at LIMIT :limit
)
