SELECT file_id, filename, size_bytes, metadata, created_at, expires_at, submitted_by FROM file_uploads WHERE file_id = :file_id
