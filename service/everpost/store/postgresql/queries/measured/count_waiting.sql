SELECT coalesce(sum(tasks), 0)::bigint FROM (TABLE task_counts UNION ALL TABLE task_count_changes) AS parts
WHERE source = 'task_queue' AND platform = :platform
