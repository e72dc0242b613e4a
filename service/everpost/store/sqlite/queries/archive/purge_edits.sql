-- The edits of destroyed tasks.
DELETE FROM task_edits WHERE task_id IN (SELECT value FROM json_each(:task_ids))
