INSERT INTO everpost_meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO NOTHING
