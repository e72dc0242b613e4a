-- The next operations before :operation_id that ended before :before. Ids are in the order of time.
DELETE FROM operations WHERE operation_id = ANY (ARRAY(
    SELECT operation_id FROM operations
    WHERE operation_id < :operation_id AND status <> 'running' AND updated_at < :before
    ORDER BY operation_id LIMIT :limit FOR UPDATE SKIP LOCKED
))
