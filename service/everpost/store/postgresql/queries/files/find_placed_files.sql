SELECT
    {file_columns}
FROM file_records WHERE root = :root AND md5(file_path) = ANY (SELECT md5(each) FROM unnest(:file_paths::text[]) AS each)
