-- The trace contexts of destroyed tasks.
DELETE FROM task_traces WHERE task_id = ANY (:task_ids::text[])
