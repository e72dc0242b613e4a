SELECT coalesce(max(version), 0) FROM everpost_schema
