-- The trace contexts of destroyed tasks.
DELETE FROM task_traces WHERE task_id IN (SELECT value FROM json_each(:task_ids))
