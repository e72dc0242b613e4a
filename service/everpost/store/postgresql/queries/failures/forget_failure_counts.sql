-- Numbers of failures in slices that nothing asks for any more.
DELETE FROM failure_counts WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM failure_counts WHERE slice_s = :slice_s AND began_s < :before_s LIMIT :limit FOR UPDATE SKIP LOCKED
))
