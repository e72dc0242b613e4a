-- needs: 3
-- A publisher's checkpoint: it goes with its task from the ledger to the history and the archive. While the version before
-- serves too, a task that it ends or archives loses its checkpoint, which that version does not know.
ALTER TABLE task_queue
    ADD checkpoint text,                                   -- JSON: the publisher's last one, for the next attempt
    ADD checkpoint_attempt integer;                        -- the attempt that saved it; an earlier one cannot any more
ALTER TABLE task_queue ALTER checkpoint SET STATISTICS 0;
ALTER TABLE publish_tasks ADD checkpoint text, ADD checkpoint_attempt integer;
ALTER TABLE publish_tasks_archive ADD checkpoint text, ADD checkpoint_attempt integer;
