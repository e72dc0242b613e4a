-- What it was to undo can be undone again.
UPDATE operations SET status = 'failed', error = :error, updated_at = :now, request = :request, undoes = NULL
WHERE operation_id = :operation_id AND owner = :owner AND status = 'running'
