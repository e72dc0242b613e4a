INSERT INTO sessions (digest, key_id, name, role, created_at, expires_at, seen_at)
VALUES (:digest, :key_id, :name, :role, :created_at, :expires_at, :seen_at)
