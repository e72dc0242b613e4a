-- The facts in an odd row. Texts are read as bytes, because they need not be UTF-8. A value of `sending` that is not a
-- number still counts as an intent to send.
SELECT
    CASE typeof(task_id) WHEN 'text' THEN CAST(task_id AS BLOB) END AS task_id,
    CAST(platform AS BLOB) AS platform,
    CAST(sending AS INTEGER) AS sending,
    CASE WHEN json_valid(attempts) THEN CASE json_type(attempts) WHEN 'array' THEN attempts END END AS attempts
FROM task_queue
WHERE id = :row AND accepted_by IS NOT NULL
