DELETE FROM file_records WHERE file_id = :file_id
