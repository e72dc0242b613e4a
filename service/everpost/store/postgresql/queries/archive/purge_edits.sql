-- The edits of destroyed tasks.
DELETE FROM task_edits WHERE task_id = ANY (:task_ids::text[])
