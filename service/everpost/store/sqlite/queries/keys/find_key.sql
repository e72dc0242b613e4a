SELECT
    key_id, name, role, prefix, digest, scope, rate, created_at, created_by, expires_at, revoked_at, revoked_by,
    last_used_at
FROM api_keys WHERE key_id = :key_id
