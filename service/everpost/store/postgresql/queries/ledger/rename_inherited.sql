-- Inherited rows whose ids the history has too: an original file can have both. They get other ids, to move there.
UPDATE task_queue AS t SET task_id = 'inherited-' || md5(t.task_id)
FROM publish_tasks AS h
WHERE t.task_id = ANY (:task_ids) AND h.job_id = t.task_id AND h.job_id = ANY (:task_ids) AND t.accepted_by IS NULL
RETURNING t.task_id AS new_id, h.job_id AS task_id
