SELECT platform, sending, attempts FROM task_queue WHERE task_id = :task_id AND accepted_by IS NOT NULL FOR UPDATE
