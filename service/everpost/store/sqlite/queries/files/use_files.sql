-- :uses is a JSON list of [file_id, task_id]. A file without a record is not used.
INSERT INTO file_uses (file_id, task_id)
SELECT u.value ->> 0, u.value ->> 1 FROM json_each(:uses) AS u
WHERE EXISTS (SELECT 1 FROM file_records AS f WHERE f.file_id = u.value ->> 0)
ON CONFLICT DO NOTHING
