DELETE FROM file_records AS f WHERE f.id = ANY (ARRAY(
    SELECT id FROM file_records AS f
    WHERE root = 'uploads' AND coalesce(used_at, created_at) < :before
        AND NOT EXISTS (SELECT FROM file_uses AS u WHERE u.file_id = f.file_id)
    ORDER BY coalesce(used_at, created_at) LIMIT :limit FOR UPDATE SKIP LOCKED
)) AND NOT EXISTS (SELECT FROM file_uses AS u WHERE u.file_id = f.file_id)
RETURNING
    {file_columns}
