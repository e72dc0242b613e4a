INSERT INTO limit_closures (scope, closed_until) VALUES (:scope, :until)
ON CONFLICT (scope) DO UPDATE SET closed_until = max(closed_until, excluded.closed_until)
