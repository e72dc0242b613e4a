-- The ids of batches before one, in descending order: each step looks up the greatest that is smaller.
WITH RECURSIVE ids (batch_id, number) AS (
    SELECT :before::text COLLATE "C", 0
    UNION ALL
    SELECT greatest(
        (
            SELECT h.batch_id FROM publish_tasks AS h
            WHERE h.batch_id < ids.batch_id AND h.batch_id IS NOT NULL ORDER BY h.batch_id DESC LIMIT 1
        ),
        (
            SELECT q.batch_id FROM task_queue AS q
            WHERE q.batch_id < ids.batch_id AND q.batch_id IS NOT NULL ORDER BY q.batch_id DESC LIMIT 1
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
ORDER BY number
