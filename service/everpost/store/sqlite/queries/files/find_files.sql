-- :file_ids is a JSON list.
SELECT
    {file_columns}
FROM file_records WHERE file_id IN (SELECT value FROM json_each(:file_ids))
