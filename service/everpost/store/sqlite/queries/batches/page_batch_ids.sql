-- The ids of batches before one, in descending order: each step looks up the greatest that is smaller.
WITH RECURSIVE ids (batch_id, number) AS (
    SELECT :before, 0
    UNION ALL
    SELECT (
        SELECT max(found) FROM (
            SELECT (
                SELECT batch_id FROM publish_tasks INDEXED BY publish_tasks_batch
                WHERE batch_id < ids.batch_id AND batch_id IS NOT NULL ORDER BY batch_id DESC LIMIT 1
            ) AS found
            UNION ALL
            SELECT (
                SELECT batch_id FROM task_queue INDEXED BY task_queue_batch
                WHERE batch_id < ids.batch_id AND batch_id IS NOT NULL ORDER BY batch_id DESC LIMIT 1
            )
        )
    ), number + 1
    FROM ids WHERE batch_id IS NOT NULL AND number < :limit
)
SELECT batch_id,
    coalesce(
        (SELECT kind FROM batches AS b WHERE b.batch_id = ids.batch_id),
        (SELECT 'recurring' FROM recurring_posts AS r WHERE r.recurrence_id = ids.batch_id),
        (SELECT 'retry' FROM operations AS o WHERE o.operation_id = ids.batch_id),
        'batch'
    ) AS kind
FROM ids WHERE number > 0 AND batch_id IS NOT NULL
