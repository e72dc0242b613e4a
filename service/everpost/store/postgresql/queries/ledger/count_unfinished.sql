SELECT count(*) FROM task_queue WHERE accepted_by IS NOT NULL
