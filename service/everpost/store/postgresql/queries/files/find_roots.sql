SELECT name, folder FROM file_roots ORDER BY name
