-- No row: another operation undoes the same one.
INSERT INTO operations (
    operation_id, kind, request, status, total, done, succeeded, position, error, owner, created_at, updated_at, undoes
)
VALUES (
    :operation_id, :kind, :request, :status, :total, :done, :succeeded, :position, :error, :owner, :created_at,
    :updated_at, :undoes
)
ON CONFLICT (undoes) WHERE undoes IS NOT NULL DO NOTHING
RETURNING operation_id
