-- Numbers of failures in slices that nothing asks for any more.
DELETE FROM failure_counts WHERE (slice_s, began_s, cause, platform, account_id) IN (
    SELECT slice_s, began_s, cause, platform, account_id FROM failure_counts
    WHERE slice_s = :slice_s AND began_s < :before_s LIMIT :limit
)
