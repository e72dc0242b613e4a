SELECT everpost_add_month(month::date)
FROM generate_series(date_trunc('month', to_timestamp(:first_ms::bigint / 1000) AT TIME ZONE 'UTC'),
    to_timestamp(:last_ms::bigint / 1000) AT TIME ZONE 'UTC', interval '1 month') AS month
