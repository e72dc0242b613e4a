-- No row: another operation undoes the same one.
INSERT INTO operations (
    operation_id, kind, request, status, total, done, succeeded, position, error, owner, created_at, updated_at, undoes
)
SELECT
    :operation_id, :kind, :request, :status, :total, :done, :succeeded, :position, :error, :owner, :created_at,
    :updated_at, :undoes
WHERE NOT EXISTS (SELECT 1 FROM operations WHERE undoes = :undoes)
RETURNING operation_id
