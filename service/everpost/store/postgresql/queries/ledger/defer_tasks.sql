-- Attempts failed, and the next ones are due at `due_at`. The tasks are locked, and their lists of attempts are made.
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(:rows) AS given (
        task_id text, attempts text, number integer, spent integer, error_message text, due_at text, finished_at text
    )
)
UPDATE task_queue AS t SET
    status = 'retry',
    attempts = given.attempts,
    retry_count = t.retry_count + given.spent,
    error_message = given.error_message,
    sending = nullif(t.sending, given.number), -- another's intent stands
    due_at = given.due_at,
    updated_at = given.finished_at
FROM given
WHERE t.task_id = given.task_id AND t.task_id = ANY (ARRAY(SELECT given.task_id FROM given))
