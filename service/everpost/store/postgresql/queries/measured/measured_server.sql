SELECT current_setting('server_version') AS version, pg_backend_pid() AS pid, host(inet_server_addr()) AS host
