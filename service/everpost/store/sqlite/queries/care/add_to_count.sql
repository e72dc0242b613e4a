INSERT INTO task_counts (source, status, platform, tasks) VALUES (:source, :status, :platform, :tasks)
ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks
