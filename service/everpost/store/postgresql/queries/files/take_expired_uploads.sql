DELETE FROM file_uploads WHERE file_id = ANY (ARRAY(
    SELECT file_id FROM file_uploads WHERE expires_at < :now ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
))
RETURNING file_id, filename, size_bytes, metadata, created_at, expires_at, submitted_by
