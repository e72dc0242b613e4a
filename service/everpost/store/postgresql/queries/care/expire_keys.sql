-- Ages are measured in running time, so a wall clock that is ahead does not expire keys.
DELETE FROM idempotency_keys WHERE key = ANY (ARRAY(
    SELECT key FROM idempotency_keys
    WHERE counted_ms < (SELECT value::bigint FROM everpost_meta WHERE everpost_meta.key = 'counted_ms') - :kept_ms::bigint
    ORDER BY counted_ms LIMIT :limit FOR UPDATE SKIP LOCKED
))
