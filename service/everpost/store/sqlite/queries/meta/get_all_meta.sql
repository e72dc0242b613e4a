SELECT key, value FROM everpost_meta WHERE key IN (SELECT value FROM json_each(:keys))
