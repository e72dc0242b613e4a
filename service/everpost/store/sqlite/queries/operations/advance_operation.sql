-- No row: another process has taken the operation over, and this step is rolled back. The ids of the request may be a
-- megabyte and are not needed once the operation has ended.
UPDATE operations SET
    done = done + :done, succeeded = succeeded + :succeeded, position = :following, status = :status, updated_at = :now,
    request = iif(:status = 'running', request, json_remove(request, '$.task_ids', '$.filter.task_ids'))
WHERE operation_id = :operation_id AND owner = :owner AND position IS :position AND status = 'running'
RETURNING operation_id, kind, request, status, total, done, succeeded, position, error, owner, created_at, updated_at
