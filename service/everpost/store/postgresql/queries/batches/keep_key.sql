-- A key that is in use is not returned; an expired one is replaced. Waits for another transaction that writes it.
WITH counted AS MATERIALIZED (
    SELECT coalesce((SELECT value::bigint FROM everpost_meta WHERE key = 'counted_ms'), 0) AS counted_ms
)
INSERT INTO idempotency_keys AS known (key, fingerprint, task_id, created_at, answer, counted_ms)
SELECT :key, :fingerprint, :accepted_id, :created_at, :answer, counted.counted_ms FROM counted
ON CONFLICT (key) DO UPDATE SET
    fingerprint = excluded.fingerprint,
    task_id = excluded.task_id,
    created_at = excluded.created_at,
    answer = excluded.answer,
    counted_ms = excluded.counted_ms
WHERE known.counted_ms < excluded.counted_ms - :kept_ms::bigint
RETURNING key
