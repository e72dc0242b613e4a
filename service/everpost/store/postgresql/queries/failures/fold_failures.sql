-- Add changes to the numbers of failures, as fold_counts.sql.
WITH taken AS (
    DELETE FROM failure_count_changes
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM failure_count_changes LIMIT :limit))
    RETURNING began_s, cause, platform, account_id, tasks, first_s, last_s, sample
)
INSERT INTO failure_counts AS n (slice_s, began_s, cause, platform, account_id, tasks, first_s, last_s, sample)
SELECT size, taken.began_s / size * size, e.cause, e.platform, e.account_id, sum(tasks), min(first_s), max(last_s),
    (array_agg(sample ORDER BY last_s DESC NULLS LAST, sample DESC))[1]
FROM taken
CROSS JOIN unnest(ARRAY[300, 3600, 86400]::bigint[]) AS size
CROSS JOIN LATERAL (
    VALUES (taken.cause, taken.platform, taken.account_id), ('', '', '') -- and all groups together
) AS e (cause, platform, account_id)
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
ON CONFLICT (slice_s, began_s, cause, platform, account_id) DO UPDATE SET
    tasks = n.tasks + excluded.tasks,
    first_s = least(n.first_s, excluded.first_s),
    sample = CASE WHEN excluded.last_s IS NULL OR excluded.last_s < n.last_s THEN n.sample ELSE excluded.sample END,
    last_s = greatest(n.last_s, excluded.last_s)
