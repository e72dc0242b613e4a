-- As accept_tasks.sql, for rows whose answer was lost: finds the tasks that they wrote, which may have ended meanwhile. A
-- task is in one of these places at every moment, so this statement finds it even while it moves.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(:rows::everpost_accepted_by[])
), known AS MATERIALIZED (
    SELECT task_id FROM task_queue WHERE task_id = ANY (ARRAY(SELECT given.task_id FROM given))
    UNION ALL
    SELECT job_id FROM publish_tasks WHERE job_id = ANY (ARRAY(SELECT given.task_id FROM given))
    UNION ALL
    SELECT job_id FROM publish_tasks_archive WHERE job_id = ANY (ARRAY(SELECT given.task_id FROM given))
), added AS (
    INSERT INTO task_queue (
    {accepted_columns}
)
    SELECT
    {accepted_values}
    FROM given AS task
    WHERE task_id NOT IN (SELECT known.task_id FROM known)
    ORDER BY task_id
    RETURNING task_id
)
SELECT task_id FROM added
UNION ALL
SELECT task_id FROM known
