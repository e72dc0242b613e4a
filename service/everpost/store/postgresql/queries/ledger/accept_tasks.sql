-- The rows of many tasks in one statement. They are written in the order of their ids, so that two statements never wait for
-- each other.
INSERT INTO task_queue (
    {accepted_columns}
)
SELECT
    {accepted_values}
FROM unnest(:rows::everpost_accepted_by[]) AS task
ORDER BY task.task_id
