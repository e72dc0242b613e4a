file_id, root, ifnull(CAST(file_path AS TEXT), ''), ifnull(CAST(filename AS TEXT), ''),
    CAST(size_bytes AS INTEGER), sha256, content_type, CAST(width AS INTEGER), CAST(height AS INTEGER),
    iif(typeof(duration) IN ('real', 'integer'), CAST(duration AS REAL), NULL), CAST(changed_ns AS INTEGER),
    created_at, used_at, CAST(status AS TEXT), CAST(published_at AS TEXT), CAST(last_platform AS TEXT),
    CAST(last_accounts AS TEXT), submitted_by, id
