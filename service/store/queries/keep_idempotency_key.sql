INSERT INTO idempotency_keys (key, fingerprint, task_id, created_at)
VALUES (:key, :fingerprint, :task_id, :created_at)
