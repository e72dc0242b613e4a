SELECT
    {file_columns}
FROM file_records
WHERE id < :before
    AND (:submitted_by::text IS NULL OR root IS DISTINCT FROM 'uploads' OR submitted_by = :submitted_by)
ORDER BY id DESC LIMIT :limit
