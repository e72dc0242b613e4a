INSERT INTO limits (scope, value, updated_at) VALUES (:scope, :value, :now)
ON CONFLICT (scope) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at
