UPDATE operations SET status = 'failed', error = :error, updated_at = :now, request = :request
WHERE operation_id = :operation_id AND owner = :owner AND status = 'running'
