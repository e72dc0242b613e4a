DELETE FROM file_records WHERE root = :name AND NOT EXISTS (
    SELECT 1 FROM file_uses AS u WHERE u.file_id = file_records.file_id
)
