-- What an odd row says of its task. As bytes: no text of it need be UTF-8. What is no number in `sending` counts as an
-- intent to send all the same.
SELECT
    CASE typeof(task_id) WHEN 'text' THEN CAST(task_id AS BLOB) END AS task_id,
    CAST(platform AS BLOB) AS platform,
    CAST(sending AS INTEGER) AS sending,
    CASE WHEN json_valid(attempts) THEN CASE json_type(attempts) WHEN 'array' THEN attempts END END AS attempts
FROM task_queue
WHERE id = :row AND accepted_by IS NOT NULL
