-- The counts, and the changes that are not added to them yet.
SELECT source, status, platform, sum(tasks)::bigint AS tasks
FROM (TABLE task_counts UNION ALL TABLE task_count_changes) AS parts
GROUP BY source, status, platform HAVING sum(tasks) > 0
