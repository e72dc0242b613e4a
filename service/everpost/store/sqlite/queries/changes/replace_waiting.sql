-- An original file left this row waiting. Its retry takes its place.
UPDATE publish_tasks SET status = 'cancelled', error_message = :message
WHERE job_id = :task_id AND status IN ('pending', 'retry')
