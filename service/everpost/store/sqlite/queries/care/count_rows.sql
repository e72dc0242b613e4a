-- How many tasks there are by table, status and platform, from the rows themselves.
SELECT 'publish_tasks' AS source, status, platform, count(*) AS tasks FROM publish_tasks GROUP BY platform, status
UNION ALL
SELECT 'task_queue', status, platform, count(*) FROM task_queue GROUP BY platform, status
