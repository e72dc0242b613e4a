UPDATE task_queue AS t SET attempts = given.attempts
FROM unnest(:task_ids::text[], :attempts::text[]) AS given (task_id, attempts)
WHERE t.task_id = given.task_id AND t.task_id = ANY (:task_ids)
