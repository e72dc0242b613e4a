-- The rows of many tasks in one statement. They come in the order of their ids, and are written in it, so that two statements
-- never wait for each other. Sorting them here would copy each row once more.
INSERT INTO task_queue (
    {accepted_columns}
)
SELECT
    {accepted_values}
FROM unnest(:rows::everpost_accepted_by[]) AS task
