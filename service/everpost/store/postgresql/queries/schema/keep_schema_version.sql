INSERT INTO everpost_schema (version, name) VALUES (:version, :name)
