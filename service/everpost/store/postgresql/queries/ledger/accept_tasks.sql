-- The rows of many tasks in one statement; :rows is a JSON list of objects. They are written in the order of their ids,
-- so that two statements never wait for each other.
INSERT INTO task_queue (
    {accepted_columns}
)
SELECT
    {accepted_values}
FROM json_to_recordset(:rows) AS task (
    {accepted_types}
)
ORDER BY task.task_id
