-- The groups with the most failures since a time, in whole slices; of more numbers than :most, the earliest do not count.
WITH counted AS (
    SELECT cause, platform, account_id, tasks FROM failure_counts
    WHERE slice_s = :slice_s AND began_s >= :began_s AND cause <> ''
    ORDER BY began_s DESC LIMIT :most
), grouped AS (
    SELECT cause, platform, account_id, sum(tasks) AS tasks, count(*) AS numbers
    FROM counted GROUP BY cause, platform, account_id HAVING sum(tasks) > 0
)
SELECT g.cause, c.error_class, c.text, g.platform, g.account_id, group_count, numbers
FROM (
    SELECT cause, platform, account_id, tasks, count(*) OVER () AS group_count, sum(numbers) OVER () AS numbers
    FROM grouped ORDER BY tasks DESC, cause, platform, account_id LIMIT :limit
) AS g
LEFT JOIN failure_causes AS c ON c.cause = g.cause
