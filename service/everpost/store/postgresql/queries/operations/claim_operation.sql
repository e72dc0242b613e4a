-- An operation that another process is claiming is left to it.
UPDATE operations SET owner = :owner, updated_at = :now
WHERE operation_id = (
    SELECT operation_id FROM operations
    WHERE status = 'running' AND (owner IS NULL OR updated_at NOT BETWEEN :before AND :after)
    ORDER BY created_at LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING operation_id, kind, request, status, total, done, succeeded, position, error, owner, created_at, updated_at,
    undoes
