SELECT min(audit_id) AS last, count(*) AS scanned
FROM (
    SELECT audit_id FROM audit_log WHERE target = :target AND audit_id < :before ORDER BY audit_id DESC LIMIT :scanned
) AS seen
