SELECT source, CAST(status AS TEXT) AS status, CAST(platform AS TEXT) AS platform, tasks FROM task_counts WHERE tasks > 0
