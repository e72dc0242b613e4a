-- The rows of many tasks in one statement; :rows is a JSON list of objects.
INSERT INTO task_queue (
    task_id, task_type, priority, status, data, created_at, updated_at,
    platform, account_id, title, due_at, retry_of, root_id, generation, batch_id, accepted_by
)
SELECT
    value ->> 'task_id', 'publish', value ->> 'priority', value ->> 'status', value ->> 'task_data',
    value ->> 'created_at', value ->> 'created_at', value ->> 'platform', value ->> 'account_id', value ->> 'title',
    value ->> 'due_at', value ->> 'retry_of', value ->> 'root_id', value ->> 'generation', value ->> 'batch_id',
    value ->> 'accepted_by'
FROM json_each(:rows)
