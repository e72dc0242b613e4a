INSERT INTO idempotency_keys (key, fingerprint, task_id, created_at, answer, counted_ms)
VALUES (
    :key, :fingerprint, :accepted_id, :created_at, :answer,
    ifnull((SELECT CAST(value AS INTEGER) FROM everpost_meta WHERE key = 'counted_ms'), 0)
)
ON CONFLICT (key) DO UPDATE SET
    fingerprint = excluded.fingerprint,
    task_id = excluded.task_id,
    created_at = excluded.created_at,
    answer = excluded.answer,
    counted_ms = excluded.counted_ms
