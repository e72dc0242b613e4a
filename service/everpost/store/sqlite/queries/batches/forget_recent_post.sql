DELETE FROM recent_posts WHERE digest = :digest AND task_id = :task_id
