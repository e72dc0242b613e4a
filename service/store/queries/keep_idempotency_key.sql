INSERT INTO idempotency_keys (key, fingerprint, task_id, created_at, answer)
VALUES (:key, :fingerprint, :accepted_id, :created_at, :answer)
ON CONFLICT (key) DO UPDATE SET
    fingerprint = excluded.fingerprint,
    task_id = excluded.task_id,
    created_at = excluded.created_at,
    answer = excluded.answer
