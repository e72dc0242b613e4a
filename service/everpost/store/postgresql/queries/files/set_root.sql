INSERT INTO file_roots (name, folder) VALUES (:name, :folder) ON CONFLICT (name) DO UPDATE SET folder = excluded.folder
