-- The tables of months that were archived as a whole: see schema/0003_archived_months.sql.
SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'publish_tasks_archive'::regclass ORDER BY 1
