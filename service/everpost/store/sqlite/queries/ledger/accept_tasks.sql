-- The rows of many tasks in one statement; :rows is a JSON list of lists, the values of each in this order. By names, each
-- value would take longer to find.
-- MATERIALIZED: otherwise json_each writes each list again at every use.
WITH given (task) AS MATERIALIZED (SELECT value FROM json_each(:rows))
INSERT INTO task_queue (
    task_id, priority, status, data, created_at,
    platform, account_id, title, due_at, retry_of,
    root_id, generation, batch_id, accepted_by, callback_url,
    late_at, submitted_by, task_type, updated_at
)
SELECT
    task ->> 0, task ->> 1, task ->> 2, task ->> 3, task ->> 4,
    task ->> 5, task ->> 6, task ->> 7, task ->> 8, task ->> 9,
    task ->> 10, task ->> 11, task ->> 12, task ->> 13, task ->> 14,
    task ->> 15, task ->> 16, 'publish', task ->> 4
FROM given
