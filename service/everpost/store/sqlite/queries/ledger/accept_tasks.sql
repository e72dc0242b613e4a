-- The rows of many tasks in one statement; :rows is a JSON list of objects.
-- MATERIALIZED: otherwise json_each writes each object again at every use.
WITH given (task) AS MATERIALIZED (SELECT value FROM json_each(:rows))
INSERT INTO task_queue (
    task_id, task_type, priority, status, data, created_at, updated_at,
    platform, account_id, title, due_at, retry_of, root_id, generation, batch_id, accepted_by,
    callback_url, late_at
)
SELECT
    task ->> 'task_id', 'publish', task ->> 'priority', task ->> 'status', task ->> 'task_data',
    task ->> 'created_at', task ->> 'created_at', task ->> 'platform', task ->> 'account_id', task ->> 'title',
    task ->> 'due_at', task ->> 'retry_of', task ->> 'root_id', task ->> 'generation', task ->> 'batch_id',
    task ->> 'accepted_by', task ->> 'callback_url', task ->> 'late_at'
FROM given
