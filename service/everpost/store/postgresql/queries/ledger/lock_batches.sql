-- Locks the batches that count these unfinished tasks, or the retries of these first tasks, in the order of their ids. A
-- statement that ends tasks takes them in this order too, so that no two transactions wait for each other.
SELECT batch_id FROM batches
WHERE callback_url IS NOT NULL AND batch_id = ANY (ARRAY(
    SELECT everpost_batch_of(root_id, batch_id) FROM task_queue WHERE task_id = ANY (:task_ids) AND callback_url IS NOT NULL
    UNION ALL
    SELECT everpost_batch_of(root_id, NULL) FROM unnest(:root_ids::text[]) AS root_id
))
ORDER BY batch_id
FOR UPDATE
