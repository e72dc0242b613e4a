SELECT digest, key_id, name, role, created_at, expires_at, seen_at FROM sessions WHERE digest = :digest
