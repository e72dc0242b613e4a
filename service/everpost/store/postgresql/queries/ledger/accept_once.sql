-- Requests with an Idempotency-Key, each with its tasks. Their task_id is the key, so that no two of them have the same one. A
-- key that is in use is not returned, and its tasks are not written; an expired one is replaced. The statement waits for
-- another that writes one of its keys.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(:rows::everpost_request_by[])
), counted AS MATERIALIZED (
    SELECT coalesce((SELECT value::bigint FROM everpost_meta WHERE key = 'counted_ms'), 0) AS counted_ms
), kept AS (
    INSERT INTO idempotency_keys AS known (key, fingerprint, task_id, created_at, answer, counted_ms)
    SELECT given.task_id, fingerprint, accepted_id, created_at, answer, counted.counted_ms FROM given, counted
    ORDER BY given.task_id
    ON CONFLICT (key) DO UPDATE SET
        fingerprint = excluded.fingerprint,
        task_id = excluded.task_id,
        created_at = excluded.created_at,
        answer = excluded.answer,
        counted_ms = excluded.counted_ms
    WHERE known.counted_ms < excluded.counted_ms - (SELECT kept_ms FROM given WHERE given.task_id = known.key)
    RETURNING key
), accepted AS (
    INSERT INTO task_queue (
    {accepted_columns}
)
    SELECT
    {accepted_values}
    FROM given JOIN kept ON kept.key = given.task_id CROSS JOIN unnest(given.tasks) AS task
    ORDER BY task.task_id
)
SELECT key AS task_id FROM kept
