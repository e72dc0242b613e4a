-- How many scheduled tasks are due in each time, up to :most.
SELECT (
    SELECT count(*) FROM (
        SELECT FROM task_queue
        WHERE promote_at IS NOT NULL AND promote_at >= given.low AND promote_at < given.high LIMIT :most
    ) AS counted
) AS tasks
FROM unnest(:lows::text[], :highs::text[]) WITH ORDINALITY AS given (low, high, number) ORDER BY number
