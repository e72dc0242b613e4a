DELETE FROM audit_log WHERE audit_id IN (
    SELECT audit_id FROM audit_log WHERE audit_id < :before_id AND at < :before ORDER BY audit_id LIMIT :most
)
