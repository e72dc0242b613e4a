-- Other processes of Everpost that have this database open.
SELECT format('process %s from %s', pid, coalesce(host(client_addr), 'this host')) AS what
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'everpost%'
ORDER BY pid
