-- As accept_tasks.sql, but only of tasks that the ledger does not have; also not of one whose retry chain lives (I5).
INSERT INTO task_queue (
    {accepted_columns}
)
SELECT
    {accepted_values}
FROM unnest(:rows::everpost_accepted_by[]) AS task
ORDER BY task.task_id
ON CONFLICT DO NOTHING
RETURNING task_id
