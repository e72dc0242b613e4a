-- An original file left these rows waiting. Their retries take their place.
UPDATE publish_tasks AS h SET status = 'cancelled', error_message = given.message
FROM unnest(:task_ids::text[], :messages::text[]) AS given (task_id, message)
WHERE h.job_id = given.task_id AND h.job_id = ANY (:task_ids) AND h.status IN ('pending', 'retry')
