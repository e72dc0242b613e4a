-- Accepted tasks that break I1. Rows inherited from an original file have neither accepted_by nor queued_at, and may
-- repeat an id. It reads the whole ledger and archive, and is only for `everpost doctor`.
SELECT t.task_id
FROM task_queue AS t
WHERE t.accepted_by IS NOT NULL
    AND (
        EXISTS (SELECT FROM publish_tasks AS h WHERE h.job_id = t.task_id)
        OR EXISTS (SELECT FROM publish_tasks_archive AS a WHERE a.job_id = t.task_id)
    )
UNION
SELECT a.job_id
FROM publish_tasks_archive AS a JOIN publish_tasks AS h ON h.job_id = a.job_id
WHERE a.queued_at IS NOT NULL AND h.queued_at IS NOT NULL
