DELETE FROM everpost_meta WHERE key = :key
