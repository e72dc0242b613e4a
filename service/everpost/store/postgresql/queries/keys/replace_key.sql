UPDATE api_keys SET expires_at = least(coalesce(expires_at, :until), :until) WHERE key_id = :replaces
