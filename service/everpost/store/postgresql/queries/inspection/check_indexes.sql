-- Compare every index of Everpost's tables with its table; the first fault is an error (the extension amcheck).
SELECT bt_index_check(index => indexrelid, heapallindexed => true)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
WHERE relnamespace = current_schema()::regnamespace AND amname = 'btree' AND relkind = 'i' AND indisvalid
