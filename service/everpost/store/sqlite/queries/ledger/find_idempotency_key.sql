-- A key that was kept for long enough is free, although nobody has removed it.
SELECT fingerprint, task_id, answer FROM idempotency_keys
WHERE key = :key
    AND counted_ms >= ifnull((SELECT CAST(value AS INTEGER) FROM everpost_meta WHERE key = 'counted_ms'), 0) - :kept_ms
