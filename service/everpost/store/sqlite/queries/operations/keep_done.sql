INSERT OR IGNORE INTO operation_tasks (operation_id, task_id) VALUES (:operation_id, :task_id)
