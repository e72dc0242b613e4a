UPDATE file_records SET
    filename = :filename, filesize = round(:size_bytes / 1048576.0, 2), size_bytes = :size_bytes, sha256 = :sha256,
    content_type = :content_type, width = :width, height = :height, duration = :duration, changed_ns = :changed_ns
WHERE root = :root AND file_path = :file_path
