DELETE FROM file_roots WHERE name = :name
