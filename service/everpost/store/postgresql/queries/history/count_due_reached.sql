-- As count_due, of the platforms and accounts in :reach, among the first :most tasks of each time.
SELECT tasks, looked
FROM unnest(:lows::text[], :highs::text[]) WITH ORDINALITY AS given (low, high, number) CROSS JOIN LATERAL (
    SELECT count(*) AS looked, count(*) FILTER (
        WHERE platform = ANY (:reach::text[]) OR platform || chr(10) || account_id = ANY (:reach::text[])
    ) AS tasks
    FROM (
        SELECT platform, account_id FROM task_queue
        WHERE promote_at IS NOT NULL AND promote_at >= given.low AND promote_at < given.high
        ORDER BY promote_at, task_id LIMIT :most
    ) AS due
) AS counted
ORDER BY number
