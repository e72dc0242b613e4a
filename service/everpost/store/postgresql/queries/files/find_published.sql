SELECT platform, account_id, task_data FROM {ended} WHERE job_id = :task_id
