INSERT INTO audit_log (audit_id, at, who, role, key_id, action, how, address, target, why, details, outcome)
VALUES (:audit_id, :at, :who, :role, :key_id, :action, :how, :address, :target, :why, :details, :outcome)
