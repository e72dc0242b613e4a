SELECT source, status, platform, tasks FROM task_counts WHERE tasks > 0
