DELETE FROM recent_posts WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM recent_posts WHERE until_ms < :now_ms::bigint ORDER BY until_ms LIMIT :limit FOR UPDATE SKIP LOCKED
))
