-- See `everpost_purge_month` in schema/0004_archived_months.sql.
SELECT everpost_purge_month(:before)
