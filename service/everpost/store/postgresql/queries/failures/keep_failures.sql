-- The causes of failed tasks that are in the history. Their rows are locked, so that none leaves it meanwhile.
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(:rows) AS given (
        task_id text, cause text, platform text, account_id text, ended_s bigint
    )
), there AS MATERIALIZED (
    SELECT job_id, created_at FROM publish_tasks
    WHERE job_id = ANY (ARRAY(SELECT given.task_id FROM given)) AND status = 'failed'
    ORDER BY job_id FOR NO KEY UPDATE
)
INSERT INTO failures (task_id, cause, platform, account_id, created_at, ended_s)
SELECT given.task_id, cause, left(platform, 100), left(account_id, 256), there.created_at, ended_s
FROM given JOIN there ON there.job_id = given.task_id
ON CONFLICT (task_id) DO NOTHING
