SELECT count(*) AS uploads, coalesce(sum(size_bytes), 0)::bigint AS upload_bytes FROM file_uploads
