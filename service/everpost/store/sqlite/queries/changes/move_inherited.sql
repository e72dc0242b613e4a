-- A row of an original file's queue becomes a history row unchanged, but for the time being without its id.
INSERT INTO publish_tasks (
    platform, account_id, material_id, title, status, error_message, created_at, updated_at, completed_at,
    task_data, priority, result, started_at
)
SELECT
    ifnull(platform, iif(json_valid(data), data ->> '$.platform', NULL)),
    ifnull(account_id, iif(json_valid(data), data ->> '$.account_id', NULL)),
    iif(json_valid(data), data ->> '$.file_id', NULL),
    ifnull(title, iif(json_valid(data), data ->> '$.title', NULL)),
    status, error_message, created_at, updated_at, completed_at, data, priority, result, started_at
FROM task_queue WHERE id = :row
