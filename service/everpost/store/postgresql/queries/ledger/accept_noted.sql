-- As accept_tasks.sql, with an entry of the audit: a statement less for each retry.
WITH noted AS (
    INSERT INTO audit_log (audit_id, at, who, role, key_id, action, how, address, target, why, details, outcome)
    VALUES (:audit_id, :at, :who, :role, :key_id, :action, :how, :address, :target, :why, :details, :outcome)
)
INSERT INTO task_queue (
    {accepted_columns}
)
SELECT
    {accepted_values}
FROM unnest(:rows::everpost_accepted_by[]) AS task
ORDER BY task.task_id
