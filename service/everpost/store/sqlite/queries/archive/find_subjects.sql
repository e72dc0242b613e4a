-- Which of the ids are those of a task, or of a batch that is kept.
SELECT wanted.value FROM json_each(:ids) AS wanted
WHERE EXISTS (SELECT 1 FROM publish_tasks AS h WHERE h.job_id = wanted.value)
    OR EXISTS (SELECT 1 FROM publish_tasks_archive AS a WHERE a.job_id = wanted.value)
    OR EXISTS (SELECT 1 FROM task_queue AS t WHERE t.task_id = wanted.value)
    OR EXISTS (SELECT 1 FROM batches AS b WHERE b.batch_id = wanted.value)
