-- Ended tasks that an operation removed, if it did so in this time.
SELECT job_id FROM publish_tasks_archive
WHERE archived_at >= :from AND archived_at <= :until AND archive_reason = 'deleted' AND job_id IS NOT NULL
    AND status IN ('success', 'failed', 'cancelled', 'unknown')
    AND EXISTS (SELECT 1 FROM operation_tasks AS o WHERE o.operation_id = :operation_id AND o.task_id = job_id)
ORDER BY archived_at LIMIT :limit
