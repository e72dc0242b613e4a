-- Ended callbacks about a task or a batch that is nowhere. A redelivery retries the callback that its root_id names.
WITH lost AS MATERIALIZED (
    SELECT job_id FROM (
        SELECT job_id, regexp_replace(coalesce(root_id, job_id), '\.[^.]*\.callback$', '') AS about
        FROM publish_tasks WHERE platform = 'callback' AND created_at < :before
    ) AS found
    WHERE NOT EXISTS (SELECT FROM publish_tasks AS h WHERE h.job_id = about)
        AND NOT EXISTS (SELECT FROM publish_tasks_archive AS a WHERE a.job_id = about)
        AND NOT EXISTS (SELECT FROM task_queue AS t WHERE t.task_id = about)
        AND NOT EXISTS (SELECT FROM batches AS b WHERE b.batch_id = about)
)
DELETE FROM publish_tasks WHERE job_id = ANY (ARRAY(SELECT job_id FROM lost))
