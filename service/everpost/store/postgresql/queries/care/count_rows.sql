-- How many tasks there are by table, status and platform, from the rows themselves.
SELECT 'publish_tasks' AS source, coalesce(status, '') AS status, coalesce(platform, '') AS platform, count(*) AS tasks
FROM publish_tasks GROUP BY 2, 3
UNION ALL
SELECT 'task_queue', coalesce(status, ''), coalesce(platform, ''), count(*) FROM task_queue GROUP BY 2, 3
