SELECT
    {file_columns}
FROM file_records
WHERE id < :before AND (:submitted_by IS NULL OR root IS NOT 'uploads' OR submitted_by = :submitted_by)
ORDER BY id DESC LIMIT :limit
