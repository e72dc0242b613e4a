INSERT INTO everpost_schema (version, name, checksum, needs) VALUES (:version, :name, :checksum, :needs)
