SELECT fingerprint, task_id FROM idempotency_keys WHERE key = :key
