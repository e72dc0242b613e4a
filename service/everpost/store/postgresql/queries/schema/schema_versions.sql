SELECT version, name, checksum, needs FROM everpost_schema ORDER BY version
