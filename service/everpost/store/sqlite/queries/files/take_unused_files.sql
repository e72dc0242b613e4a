DELETE FROM file_records WHERE id IN (
    SELECT id FROM file_records AS f
    WHERE root = 'uploads' AND ifnull(used_at, created_at) < :before
        AND NOT EXISTS (SELECT 1 FROM file_uses AS u WHERE u.file_id = f.file_id)
    ORDER BY ifnull(used_at, created_at) LIMIT :limit
)
RETURNING
    {file_columns}
