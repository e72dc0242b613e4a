SELECT fingerprint, task_id, answer FROM idempotency_keys WHERE key = :key AND created_at >= :since
