-- No row: another process has taken the operation over, and this step is rolled back.
UPDATE operations SET
    done = done + :done, succeeded = succeeded + :succeeded, position = :following, status = :status, updated_at = :now,
    request = ifnull(:request, request)
WHERE operation_id = :operation_id AND owner = :owner AND position IS :position AND status = 'running'
RETURNING operation_id, kind, request, status, total, done, succeeded, position, error, owner, created_at, updated_at,
    undoes
