-- A key that was kept for long enough is free, although nobody has removed it.
SELECT fingerprint, task_id, answer FROM idempotency_keys
WHERE key = :key
    AND counted_ms >= ifnull((SELECT value ->> 'counted_ms' FROM everpost_meta WHERE key = 'clock'), 0) - :kept_ms
