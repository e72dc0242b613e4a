-- A file without a record is not used.
INSERT INTO file_uses (file_id, task_id)
SELECT u.file_id, u.task_id FROM unnest(:file_ids::text[], :task_ids::text[]) AS u (file_id, task_id)
WHERE EXISTS (SELECT FROM file_records AS f WHERE f.file_id = u.file_id)
ORDER BY u.file_id, u.task_id
ON CONFLICT DO NOTHING
