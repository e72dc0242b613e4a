-- For a restore: how old the backup is at least. Rows inherited from an original file hold naive local times.
SELECT max(at) FROM (
    SELECT max(updated_at) AS at FROM task_queue WHERE accepted_by IS NOT NULL
    UNION ALL
    SELECT max(updated_at) FROM publish_tasks WHERE queued_at IS NOT NULL
)
