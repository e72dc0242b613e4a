INSERT INTO task_edits (task_id, edited_at, edited_by, why, patch, before)
SELECT task_id, edited_at, edited_by, why, patch, before
FROM json_to_recordset(:rows) AS given (
    task_id text, edited_at text, edited_by text, why text, patch text, before text
)
ORDER BY task_id
