-- The tasks are locked, and the attempts may save.
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(:rows) AS given (task_id text, checkpoint text, attempt integer, now text)
)
UPDATE task_queue AS t
SET checkpoint = given.checkpoint, checkpoint_attempt = given.attempt, updated_at = given.now
FROM given
WHERE t.task_id = given.task_id AND t.task_id = ANY (ARRAY(SELECT given.task_id FROM given))
