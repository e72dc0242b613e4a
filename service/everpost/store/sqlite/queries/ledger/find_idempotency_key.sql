-- An expired key is free, also before it is removed. The answer with the caller's name counts before the one without.
SELECT fingerprint, task_id, answer FROM idempotency_keys
WHERE key IN (:key, :nameless) AND (key = :key OR fingerprint = :fingerprint)
    AND counted_ms >= ifnull((SELECT CAST(value AS INTEGER) FROM everpost_meta WHERE key = 'counted_ms'), 0) - :kept_ms
ORDER BY key = :key DESC LIMIT 1
