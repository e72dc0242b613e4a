SELECT value FROM everpost_meta WHERE key = :key
