SELECT audit_id, at, who, role, key_id, action, how, address, target, why, details, outcome
FROM (SELECT * FROM audit_log WHERE audit_id < :before ORDER BY audit_id DESC LIMIT :scanned) AS seen
WHERE (:who IS NULL OR who = :who) AND (:action IS NULL OR action = :action) AND (:how IS NULL OR how = :how)
    AND (:outcome IS NULL OR outcome = :outcome) AND (:since IS NULL OR at >= :since)
    AND (:until IS NULL OR at < :until)
ORDER BY audit_id DESC LIMIT :most
