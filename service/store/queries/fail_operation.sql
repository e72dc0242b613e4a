UPDATE operations SET status = 'failed', error = :error, updated_at = :now
WHERE operation_id = :operation_id AND owner = :owner AND status = 'running'
