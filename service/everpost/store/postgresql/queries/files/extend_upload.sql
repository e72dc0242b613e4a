UPDATE file_uploads SET size_bytes = :size_bytes, expires_at = :expires_at WHERE file_id = :file_id
