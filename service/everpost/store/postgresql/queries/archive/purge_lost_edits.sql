-- The edits of tasks that were destroyed with their month: no place has them. Each edit costs three look-ups by id.
DELETE FROM task_edits AS e
WHERE NOT EXISTS (SELECT FROM task_queue WHERE task_id = e.task_id)
    AND NOT EXISTS (SELECT FROM publish_tasks WHERE job_id = e.task_id)
    AND NOT EXISTS (SELECT FROM publish_tasks_archive WHERE job_id = e.task_id)
