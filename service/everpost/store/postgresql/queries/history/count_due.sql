-- How many scheduled tasks are due in each time, up to :most.
SELECT tasks, tasks AS looked
FROM unnest(:lows::text[], :highs::text[]) WITH ORDINALITY AS given (low, high, number) CROSS JOIN LATERAL (
    SELECT count(*) AS tasks FROM (
        SELECT FROM task_queue
        WHERE promote_at IS NOT NULL AND promote_at >= given.low AND promote_at < given.high LIMIT :most
    ) AS due
) AS counted
ORDER BY number
