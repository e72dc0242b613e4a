SELECT edited_at, edited_by, why, patch, before FROM task_edits
WHERE task_id = :task_id ORDER BY edit_id DESC LIMIT :limit
