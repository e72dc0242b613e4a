-- The first of a page's rows that is too young for the walk: the next walk begins there, because rows are not in the order
-- of their times. The + makes SQLite read the page's rows again, which are few, instead of all young ones.
SELECT min(id) AS id FROM task_queue WHERE id > :after AND id <= :last AND +created_at > :before AND +created_at <= :ahead
