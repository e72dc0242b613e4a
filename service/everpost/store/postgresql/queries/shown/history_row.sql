SELECT * FROM publish_tasks WHERE job_id = :task_id
