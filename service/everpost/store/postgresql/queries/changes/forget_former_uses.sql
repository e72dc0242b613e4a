-- The uses of files by the versions of tasks before their edits.
DELETE FROM file_uses WHERE task_id = ANY (:task_ids::text[])
