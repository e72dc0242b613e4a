SELECT job_id FROM publish_tasks_search
WHERE words_in_it @@ :query::text::tsquery AND words LIKE ALL (:phrases::text[])
LIMIT :limit
