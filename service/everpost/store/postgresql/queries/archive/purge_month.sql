-- See `everpost_purge_month` in schema/0003_archived_months.sql.
SELECT everpost_purge_month(:before)
