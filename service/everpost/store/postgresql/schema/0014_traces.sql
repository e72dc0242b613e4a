-- needs: 1
-- The trace contexts of tasks; see `schema.sql`.

CREATE TABLE task_traces (
    task_id text COLLATE "C" PRIMARY KEY,
    context text,
    origin  text
);
