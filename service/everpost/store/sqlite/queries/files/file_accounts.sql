SELECT CAST(last_accounts AS TEXT) FROM file_records WHERE file_id = :file_id
