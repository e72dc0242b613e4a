-- The callbacks in the ledger about ended tasks and about the batches of these, as runnable_tasks.sql. The order and the limit keep
-- PostgreSQL at the primary key.
WITH ended AS (
    SELECT batch_id, root_id FROM publish_tasks WHERE job_id = ANY (:task_ids::text[])
), about AS (
    SELECT unnest(:task_ids) AS id
    UNION
    SELECT batch_id FROM ended
    UNION
    SELECT batch_id FROM publish_tasks WHERE job_id = ANY (ARRAY(SELECT root_id FROM ended))
    UNION
    SELECT batch_id FROM publish_tasks_archive WHERE job_id = ANY (ARRAY(SELECT root_id FROM ended))
)
SELECT found.*
FROM about CROSS JOIN LATERAL (
    SELECT octet_length(data) AS size_bytes, CASE WHEN octet_length(data) <= :most THEN data END AS data,
        task_id, priority, due_at, retry_of, root_id, generation, batch_id,
        platform, account_id, title, created_at, accepted_by
    FROM task_queue
    WHERE task_id > about.id || '.' AND task_id < about.id || '/'
    ORDER BY task_id LIMIT 100
) AS found
WHERE found.accepted_by = 'callback'
