-- A row an original file left waiting; its retry has taken its place.
UPDATE publish_tasks SET status = 'cancelled', error_message = :message
WHERE job_id = :task_id AND status IN ('pending', 'retry')
