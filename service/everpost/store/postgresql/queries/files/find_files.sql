SELECT
    {file_columns}
FROM file_records WHERE file_id = ANY (:file_ids::text[])
