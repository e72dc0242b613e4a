UPDATE file_records SET
    status = 'published', published_at = :published_at, last_platform = :platform, last_accounts = :accounts
WHERE file_id = :file_id
