file_id, root, coalesce(file_path, '') AS file_path, coalesce(filename, '') AS filename, size_bytes, sha256, content_type,
    width, height, duration, changed_ns, created_at, used_at, status, published_at, last_platform, last_accounts,
    submitted_by, id AS number
