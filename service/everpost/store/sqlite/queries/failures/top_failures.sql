-- The groups with the most failures since a time; of more numbers than :most, the earliest do not count.
WITH counted AS (
    SELECT began_s, cause, platform, account_id, tasks, first_s, last_s, sample
    FROM failure_counts WHERE slice_s = :slice_s AND began_s >= :began_s
    ORDER BY began_s DESC LIMIT :most
), grouped AS (
    SELECT cause, platform, account_id, sum(tasks) AS tasks, min(first_s) AS first_s, max(last_s) AS last_s,
        count(*) AS numbers
    FROM counted GROUP BY cause, platform, account_id HAVING sum(tasks) > 0
)
SELECT g.cause, c.error_class, c.text, g.platform, g.account_id, g.tasks, g.first_s, g.last_s, all_tasks AS all_tasks,
    group_count, numbers AS numbers
FROM (
    SELECT cause, platform, account_id, tasks, first_s, last_s, sum(tasks) OVER () AS all_tasks, count(*) OVER () AS group_count,
        sum(numbers) OVER () AS numbers
    FROM grouped ORDER BY tasks DESC, last_s DESC, cause, platform, account_id LIMIT :limit
) AS g
LEFT JOIN failure_causes AS c ON c.cause = g.cause
ORDER BY g.tasks DESC, g.last_s DESC, g.cause, g.platform, g.account_id
