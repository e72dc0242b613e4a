INSERT OR IGNORE INTO operation_skips (operation_id, task_id, reason) VALUES (:operation_id, :task_id, :reason)
