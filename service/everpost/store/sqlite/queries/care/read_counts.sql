SELECT source, status, platform, tasks FROM task_counts
