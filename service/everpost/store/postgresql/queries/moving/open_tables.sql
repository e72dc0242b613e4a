-- Take back what close_tables.sql did.
DROP FUNCTION IF EXISTS everpost_refuse_moved() CASCADE
