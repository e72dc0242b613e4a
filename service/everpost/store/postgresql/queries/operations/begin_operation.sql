INSERT INTO operations (operation_id, kind, request, status, total, done, succeeded, position, error, owner, created_at, updated_at)
VALUES (
    :operation_id, :kind, :request, :status, :total, :done, :succeeded, :position, :error, :owner, :created_at,
    :updated_at
)
