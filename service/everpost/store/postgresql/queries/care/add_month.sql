-- See `everpost_add_month` in schema/0002_history.sql.
SELECT everpost_add_month(:month)
