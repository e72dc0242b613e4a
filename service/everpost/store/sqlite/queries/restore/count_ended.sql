SELECT ifnull(sum(tasks), 0) FROM task_counts WHERE source = 'publish_tasks'
