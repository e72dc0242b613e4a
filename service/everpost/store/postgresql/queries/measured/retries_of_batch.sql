SELECT count(DISTINCT retry_of) AS retried, count(*) AS waiting FROM task_queue WHERE batch_id = :batch_id
