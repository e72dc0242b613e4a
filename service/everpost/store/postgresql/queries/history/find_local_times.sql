-- The times without Z in a range of created_at, as rows of an original file have them.
SELECT created_at FROM publish_tasks WHERE right(created_at, 1) <> 'Z' AND created_at >= :low AND created_at <= :high
UNION
SELECT created_at FROM task_queue WHERE right(created_at, 1) <> 'Z' AND created_at >= :low AND created_at <= :high
