DELETE FROM file_records AS f WHERE root = :name AND NOT EXISTS (SELECT FROM file_uses AS u WHERE u.file_id = f.file_id)
