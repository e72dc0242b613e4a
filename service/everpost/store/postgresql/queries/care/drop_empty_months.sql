-- See `everpost_drop_empty_months` in schema/0002_history.sql.
SELECT everpost_drop_empty_months(:before)
