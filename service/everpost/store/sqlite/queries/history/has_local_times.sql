-- Whether a row has a time without Z, as in an original file, in one of two ranges of created_at.
SELECT EXISTS (
    SELECT 1 FROM publish_tasks WHERE substr(created_at, -1) <> 'Z' AND created_at >= :low AND created_at <= :after
    UNION ALL
    SELECT 1 FROM publish_tasks WHERE substr(created_at, -1) <> 'Z' AND created_at >= :before AND created_at <= :high
    UNION ALL
    SELECT 1 FROM task_queue WHERE substr(created_at, -1) <> 'Z' AND created_at >= :low AND created_at <= :after
    UNION ALL
    SELECT 1 FROM task_queue WHERE substr(created_at, -1) <> 'Z' AND created_at >= :before AND created_at <= :high
)
