INSERT INTO file_uploads (file_id, filename, size_bytes, metadata, created_at, expires_at)
VALUES (:file_id, :filename, :size_bytes, :metadata, :created_at, :expires_at)
ON CONFLICT DO NOTHING
