INSERT INTO limit_closures AS known (scope, closed_until) VALUES (:scope, :until)
ON CONFLICT (scope) DO UPDATE SET closed_until = greatest(known.closed_until, excluded.closed_until)
