UPDATE operations SET
    status = 'failed', error = :error, updated_at = :now,
    request = json_remove(request, '$.task_ids', '$.filter.task_ids')
WHERE operation_id = :operation_id AND owner = :owner AND status = 'running'
