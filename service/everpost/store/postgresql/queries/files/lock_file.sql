SELECT
    {file_columns}
FROM file_records WHERE file_id = :file_id FOR UPDATE
