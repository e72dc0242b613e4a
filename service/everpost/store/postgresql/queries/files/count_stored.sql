SELECT count(*) AS files, coalesce(sum(size_bytes), 0)::bigint AS size_bytes FROM file_records WHERE root = 'uploads'
