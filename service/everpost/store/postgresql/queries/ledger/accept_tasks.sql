-- The rows of many tasks in one statement; :rows is a JSON list of objects. They are written in the order of their ids,
-- so that two statements never wait for each other. `again` finds the tasks that the same rows wrote before their answer
-- was lost; they may have ended meanwhile.
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(:rows) AS given (
        task_id text, priority integer, status text, task_data text, created_at text, platform text, account_id text,
        title text, due_at text, retry_of text, root_id text, generation integer, batch_id text, accepted_by text,
        again boolean
    )
), known AS MATERIALIZED (
    SELECT task_id FROM given WHERE again AND (
        EXISTS (SELECT FROM task_queue AS t WHERE t.task_id = given.task_id)
        OR EXISTS (SELECT FROM publish_tasks AS t WHERE t.job_id = given.task_id)
        OR EXISTS (SELECT FROM publish_tasks_archive AS t WHERE t.job_id = given.task_id)
    )
), added AS (
    INSERT INTO task_queue (
        task_id, task_type, priority, status, data, created_at, updated_at,
        platform, account_id, title, due_at, retry_of, root_id, generation, batch_id, accepted_by
    )
    SELECT
        task_id, 'publish', priority, status, task_data, created_at, created_at,
        platform, account_id, title, due_at, retry_of, root_id, generation, batch_id, accepted_by
    FROM given
    WHERE again IS NOT TRUE OR task_id NOT IN (SELECT known.task_id FROM known)
    ORDER BY task_id
    RETURNING task_id
)
SELECT task_id FROM added
UNION ALL
SELECT task_id FROM known
