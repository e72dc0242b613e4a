"""Files over HTTP: plain uploads, forms, resumable uploads (tus.io), and downloads."""
