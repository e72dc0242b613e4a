UPDATE file_records SET used_at = :now WHERE file_id = :file_id
