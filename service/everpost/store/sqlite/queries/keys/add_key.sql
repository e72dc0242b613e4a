-- Not if a valid key has the name, unless the new one replaces a valid key.
INSERT INTO api_keys (
    key_id, name, role, prefix, digest, scope, rate, created_at, created_by, expires_at, revoked_at, revoked_by,
    last_used_at
)
SELECT
    :key_id, :name, :role, :prefix, :digest, :scope, :rate, :created_at, :created_by, :expires_at, NULL, NULL, NULL
WHERE EXISTS (
    SELECT 1 FROM api_keys
    WHERE key_id = :replaces AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :created_at)
) OR CAST(:replaces AS TEXT) IS NULL AND NOT EXISTS (
    SELECT 1 FROM api_keys
    WHERE name = :name AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :created_at)
)
