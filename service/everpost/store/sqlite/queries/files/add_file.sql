INSERT INTO file_records (
    file_id, root, file_path, filename, filesize, size_bytes, sha256, content_type, width, height, duration, changed_ns,
    upload_time, created_at, status, submitted_by
) VALUES (
    :file_id, :root, :file_path, :filename, round(:size_bytes / 1048576.0, 2), :size_bytes, :sha256, :content_type,
    :width, :height, :duration, :changed_ns, :created_at, :created_at, 'pending',
    :submitted_by
)
