-- The files that new tasks name. Until these are committed, no file of them is removed.
SELECT file_id FROM file_records WHERE file_id = ANY (:file_ids::text[]) ORDER BY file_id FOR KEY SHARE
