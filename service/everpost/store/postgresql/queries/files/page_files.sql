SELECT
    {file_columns}
FROM file_records WHERE id < :before ORDER BY id DESC LIMIT :limit
