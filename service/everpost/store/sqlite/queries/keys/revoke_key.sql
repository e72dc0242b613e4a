UPDATE api_keys SET revoked_at = :now, revoked_by = :by WHERE key_id = :key_id AND revoked_at IS NULL
