DELETE FROM file_uploads WHERE file_id = :file_id
