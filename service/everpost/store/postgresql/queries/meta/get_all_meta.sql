SELECT key, value FROM everpost_meta WHERE key = ANY (:keys::text[])
