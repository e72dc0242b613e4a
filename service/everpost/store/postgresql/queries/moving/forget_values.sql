DELETE FROM everpost_meta WHERE key <> ALL (:kept::text[])
