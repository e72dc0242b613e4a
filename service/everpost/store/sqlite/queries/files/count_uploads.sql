SELECT count(*), ifnull(sum(size_bytes), 0) FROM file_uploads
