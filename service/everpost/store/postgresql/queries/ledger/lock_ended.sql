SELECT attempts, status, updated_at FROM {ended} WHERE job_id = :task_id FOR UPDATE
