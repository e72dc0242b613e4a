INSERT INTO file_uploads (file_id, filename, size_bytes, metadata, created_at, expires_at, submitted_by)
VALUES (:file_id, :filename, :size_bytes, :metadata, :created_at, :expires_at, :submitted_by)
ON CONFLICT DO NOTHING
