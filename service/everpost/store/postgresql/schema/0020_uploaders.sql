-- needs: 1
-- Who uploaded a file; see `schema.sql`. A file of an earlier version has no name.
ALTER TABLE file_records ADD COLUMN submitted_by text;
ALTER TABLE file_uploads ADD COLUMN submitted_by text;
