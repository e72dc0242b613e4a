SELECT last_accounts FROM file_records WHERE file_id = :file_id FOR NO KEY UPDATE
