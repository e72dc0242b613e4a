-- Not counted is `extend`: who makes a file longer holds that lock no longer than the file system needs.
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND wait_event <> 'extend' AND datname = current_database()
