SELECT operation_id, kind, request, status, total, done, succeeded, position, error, owner, created_at, updated_at,
    undoes
FROM operations WHERE operation_id = :operation_id
