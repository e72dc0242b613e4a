INSERT INTO timeline (began_s, counts) VALUES (:began_s, :counts)
ON CONFLICT (began_s) DO UPDATE SET counts = excluded.counts
