-- Ended tasks that people removed in a time. Months that were archived as a whole have no such tasks.
SELECT job_id FROM ONLY publish_tasks_archive
WHERE archived_at >= :from AND archived_at <= :until AND archive_reason = 'deleted' AND job_id IS NOT NULL
    AND status IN ('success', 'failed', 'cancelled', 'unknown')
ORDER BY archived_at LIMIT :limit
