INSERT INTO file_records (
    file_id, root, file_path, filename, filesize, size_bytes, sha256, content_type, width, height, duration, changed_ns,
    upload_time, created_at, status, submitted_by
)
SELECT
    file_id, root, file_path, filename, round(size_bytes / 1048576.0, 2), size_bytes, sha256, content_type,
    width, height, duration, changed_ns, created_at, created_at, 'pending', submitted_by
FROM json_to_record(:record::json) AS given (
    file_id text, root text, file_path text, filename text, size_bytes bigint, sha256 text, content_type text,
    width bigint, height bigint, duration double precision, changed_ns bigint, created_at text, submitted_by text
)
ON CONFLICT DO NOTHING
