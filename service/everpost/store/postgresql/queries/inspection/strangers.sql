-- Triggers and rules on Everpost's tables that Everpost did not make.
SELECT format('trigger %s on %s', tgname, tgrelid::regclass) AS what
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal AND relname = ANY (:tables::text[])
    AND proname NOT LIKE 'everpost\_%'
UNION ALL
SELECT format('rule %s on %s', rulename, tablename)
FROM pg_rules WHERE schemaname = current_schema() AND tablename = ANY (:tables)
ORDER BY what
