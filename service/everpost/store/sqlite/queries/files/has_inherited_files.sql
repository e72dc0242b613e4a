-- Only records of the original system are without a time of their own.
SELECT EXISTS (SELECT 1 FROM file_records WHERE created_at IS NULL LIMIT 1)
