UPDATE file_records AS f SET
    filename = given.filename, filesize = round(given.size_bytes / 1048576.0, 2), size_bytes = given.size_bytes,
    sha256 = given.sha256, content_type = given.content_type, width = given.width, height = given.height,
    duration = given.duration, changed_ns = given.changed_ns
FROM json_to_record(:record::json) AS given (
    root text, file_path text, filename text, size_bytes bigint, sha256 text, content_type text,
    width bigint, height bigint, duration double precision, changed_ns bigint
)
WHERE f.root = :root AND md5(f.file_path) = md5(:file_path)
