failed AS (
    INSERT INTO failures (task_id, cause, platform, account_id, created_at, ended_s)
    SELECT
        t.task_id, e.cause, coalesce(t.platform, left(e.platform, 100), ''),
        coalesce(t.account_id, left(e.account_id, 256), ''), t.created_at, e.ended_s
    FROM moved AS t JOIN given AS e ON e.task_id = t.task_id
    WHERE e.status = 'failed'
    ON CONFLICT (task_id) DO NOTHING
)