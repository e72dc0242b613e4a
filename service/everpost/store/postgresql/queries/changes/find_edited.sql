-- The facts for edits of locked tasks: the attempts, and whether each has the data and the priority that its new version
-- was made from.
SELECT t.task_id, t.attempts,
    coalesce(t.data = given.data AND coalesce(t.priority, 5) = given.priority, false) AS is_as_read
FROM task_queue AS t
    JOIN unnest(:task_ids::text[], :data::text[], :priorities::integer[]) AS given (task_id, data, priority)
    ON t.task_id = given.task_id
WHERE t.task_id = ANY (:task_ids)
