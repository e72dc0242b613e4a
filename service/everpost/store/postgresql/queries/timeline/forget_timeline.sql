DELETE FROM timeline WHERE ctid = ANY (ARRAY(SELECT ctid FROM timeline WHERE began_s < :before_s LIMIT :limit))
