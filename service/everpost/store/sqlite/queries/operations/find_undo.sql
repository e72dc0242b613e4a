SELECT operation_id FROM operations WHERE undoes = :operation_id
