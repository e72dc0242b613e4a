-- Requests with an Idempotency-Key, each with its tasks: :rows is a JSON list of objects, whose task_id is the key, so
-- that no two of them have the same one. A key that is in use is not returned, and its tasks are not written; an expired
-- one is replaced. The statement waits for another that writes one of its keys.
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(:rows) AS given (
        task_id text, fingerprint text, accepted_id text, created_at text, answer text, kept_ms bigint, tasks json
    )
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
        task_id, task_type, priority, status, data, created_at, updated_at,
        platform, account_id, title, due_at, retry_of, root_id, generation, batch_id, accepted_by
    )
    SELECT
        task.task_id, 'publish', priority, status, task_data, task.created_at, task.created_at,
        platform, account_id, title, due_at, retry_of, root_id, generation, batch_id, accepted_by
    FROM given JOIN kept ON kept.key = given.task_id CROSS JOIN json_to_recordset(given.tasks) AS task (
        task_id text, priority integer, status text, task_data text, created_at text, platform text, account_id text,
        title text, due_at text, retry_of text, root_id text, generation integer, batch_id text, accepted_by text
    )
    ORDER BY task.task_id
)
SELECT key AS task_id FROM kept
