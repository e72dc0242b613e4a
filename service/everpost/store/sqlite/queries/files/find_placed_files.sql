-- :file_paths is a JSON list.
SELECT
    {file_columns}
FROM file_records WHERE root = :root AND file_path IN (SELECT value FROM json_each(:file_paths))
