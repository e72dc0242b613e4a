DELETE FROM recurring_posts WHERE recurrence_id = :recurrence_id RETURNING recurrence_id
