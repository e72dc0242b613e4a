-- What has kept the space of dead rows from being used again for longer than :seconds: transactions of any client, prepared
-- transactions, and replication slots whose age is not known in seconds but in transactions.
SELECT format('process %s of %s (%s), %s', pid, usename, coalesce(nullif(application_name, ''), 'no name'), state) AS what,
    extract(epoch FROM clock_timestamp() - xact_start)::bigint AS age_s
FROM pg_stat_activity
WHERE xact_start < clock_timestamp() - make_interval(secs => :seconds::double precision) AND pid <> pg_backend_pid()
    AND backend_type IN ('client backend', 'walsender')
UNION ALL
SELECT format('prepared transaction %s', gid), extract(epoch FROM clock_timestamp() - prepared)::bigint
FROM pg_prepared_xacts
WHERE prepared < clock_timestamp() - make_interval(secs => :seconds)
UNION ALL
SELECT format('replication slot %s, unused', slot_name), 0
FROM pg_replication_slots
WHERE NOT active AND greatest(age(xmin), age(catalog_xmin)) > :transactions
ORDER BY age_s DESC
LIMIT 5
