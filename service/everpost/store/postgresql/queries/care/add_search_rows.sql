-- Add the words of tasks whose entry is still there, and remove the entry; return the ids. An entry that another process is
-- adding is left to it. :rest are the last entry's ids that are left for later. Tasks that were archived meanwhile are left
-- out; the rows' ids come as :task_ids too, because only a parameter has the months that are read chosen once.
WITH taken AS (
    DELETE FROM publish_tasks_unsearched WHERE entry = ANY (ARRAY(
        SELECT entry FROM publish_tasks_unsearched WHERE entry = ANY (:entries::bigint[]) FOR UPDATE SKIP LOCKED
    )) RETURNING entry
), given AS (
    SELECT DISTINCT ON (task_id) * FROM json_to_recordset(:rows::json)
        AS row (entry bigint, task_id text, words text, vector text)
    WHERE entry IN (SELECT entry FROM taken)
), left_over AS (
    INSERT INTO publish_tasks_unsearched (job_ids) SELECT :rest::text[] FROM taken
    WHERE entry = :last AND cardinality(:rest::text[]) > 0
), present AS MATERIALIZED (
    SELECT job_id FROM publish_tasks WHERE job_id = ANY (:task_ids::text[])
), added AS (
    INSERT INTO publish_tasks_search (job_id, words, words_in_it)
    SELECT task_id, words, vector::tsvector FROM given JOIN present ON job_id = task_id
    ON CONFLICT (job_id) DO UPDATE SET words = excluded.words, words_in_it = excluded.words_in_it
)
SELECT task_id FROM given
