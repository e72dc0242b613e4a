SELECT audit_id, at, who, role, key_id, action, how, address, target, why, details, outcome
FROM (SELECT * FROM audit_log WHERE audit_id < :before ORDER BY audit_id DESC LIMIT :scanned) AS seen
WHERE (:who::text IS NULL OR who = :who) AND (:action::text IS NULL OR action = :action) AND (:how::text IS NULL OR how = :how)
    AND (:outcome::text IS NULL OR outcome = :outcome) AND (:since::text IS NULL OR at >= :since)
    AND (:until::text IS NULL OR at < :until)
ORDER BY audit_id DESC LIMIT :most
