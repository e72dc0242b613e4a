SELECT EXISTS (SELECT FROM operations WHERE operation_id = :operation_id AND status = 'done')
