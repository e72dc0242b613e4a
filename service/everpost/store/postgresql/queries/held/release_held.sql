UPDATE task_queue SET sending = NULL, error_message = NULL WHERE task_id = ANY (:task_ids::text[]) AND sending = 0
