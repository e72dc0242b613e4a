-- With a synchronous standby, its commit returns once the standby has everything that was committed before it.
SELECT pg_logical_emit_message(TRUE, 'everpost', '') WHERE current_setting('synchronous_standby_names') <> ''
