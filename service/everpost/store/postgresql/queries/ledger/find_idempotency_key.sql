-- An expired key is free, also before it is removed.
SELECT fingerprint, task_id AS accepted_id, answer FROM idempotency_keys
WHERE key = :key
    AND counted_ms >= coalesce((SELECT value::bigint FROM everpost_meta WHERE key = 'counted_ms'), 0) - :kept_ms::bigint
