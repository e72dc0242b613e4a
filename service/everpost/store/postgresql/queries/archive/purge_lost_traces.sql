-- The trace contexts of tasks that were destroyed with their month: no place has them.
DELETE FROM task_traces AS t
WHERE NOT EXISTS (SELECT FROM task_queue WHERE task_id = t.task_id)
    AND NOT EXISTS (SELECT FROM publish_tasks WHERE job_id = t.task_id)
    AND NOT EXISTS (SELECT FROM publish_tasks_archive WHERE job_id = t.task_id)
