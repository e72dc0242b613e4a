UPDATE task_queue SET checkpoint = :checkpoint, checkpoint_attempt = :attempt, updated_at = :now WHERE task_id = :task_id
