INSERT INTO task_edits (task_id, edited_at, edited_by, why, patch, before)
VALUES (:task_id, :edited_at, :edited_by, :why, :patch, :before)
