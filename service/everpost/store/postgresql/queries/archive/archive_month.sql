-- See `everpost_archive_month` in schema/0003_archived_months.sql.
SELECT everpost_archive_month(:before, :day_before, :at, :fewest, :most_staying)
