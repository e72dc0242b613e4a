SELECT coalesce(sum(tasks), 0)::bigint FROM (TABLE task_counts UNION ALL TABLE task_count_changes) AS parts
WHERE source = 'publish_tasks' AND status = :status AND platform = :platform
