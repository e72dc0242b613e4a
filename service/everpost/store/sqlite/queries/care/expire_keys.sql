-- Ages are measured in running time, so a wall clock that is ahead does not expire keys.
DELETE FROM idempotency_keys WHERE key IN (
    SELECT key FROM idempotency_keys
    WHERE counted_ms < (SELECT CAST(value AS INTEGER) FROM everpost_meta WHERE key = 'counted_ms') - :kept_ms
    ORDER BY counted_ms LIMIT :limit
)
