UPDATE operations SET owner = :owner, updated_at = :now
WHERE status = 'running' AND operation_id = (
    SELECT operation_id FROM operations
    WHERE status = 'running' AND (owner IS NULL OR updated_at NOT BETWEEN :before AND :after) ORDER BY created_at LIMIT 1
)
RETURNING operation_id, kind, request, status, total, done, succeeded, position, error, owner, created_at, updated_at,
    undoes
