INSERT INTO idempotency_keys (key, fingerprint, task_id, created_at, answer, counted_ms)
VALUES (
    :key, :fingerprint, :accepted_id, :created_at, :answer,
    ifnull((SELECT value ->> 'counted_ms' FROM everpost_meta WHERE key = 'clock'), 0)
)
ON CONFLICT (key) DO UPDATE SET
    fingerprint = excluded.fingerprint,
    task_id = excluded.task_id,
    created_at = excluded.created_at,
    answer = excluded.answer,
    counted_ms = excluded.counted_ms
