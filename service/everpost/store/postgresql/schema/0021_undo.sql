-- needs: 1
-- The tasks that an operation has cancelled, and the operation that undoes another; see `schema.sql`.
ALTER TABLE operations ADD COLUMN undoes text COLLATE "C";
CREATE UNIQUE INDEX operations_undoes ON operations (undoes) WHERE undoes IS NOT NULL;
CREATE TABLE operation_tasks (
    operation_id text COLLATE "C" NOT NULL,
    task_id      text COLLATE "C" NOT NULL,
    PRIMARY KEY (operation_id, task_id)
);
