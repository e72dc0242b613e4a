SELECT count(*) FROM task_queue INDEXED BY task_queue_one_live_retry WHERE accepted_by IS NOT NULL
