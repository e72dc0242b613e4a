SELECT operation_id, kind, request, status, total, done, succeeded, position, error, owner, created_at, updated_at,
    undoes
FROM operations WHERE operation_id < :before ORDER BY operation_id DESC LIMIT :limit
