-- needs: 1
-- Limits and pauses that people set at run time, and when attempts began that have a rate, a gap or a daily limit.

CREATE TABLE limits (
    scope      text COLLATE "C" PRIMARY KEY,               -- *, PLATFORM, /PLATFORM (each of its accounts), PLATFORM/ACCOUNT
    value      text NOT NULL,                              -- JSON: limits, hold
    updated_at text COLLATE "C" NOT NULL
);

-- After Redis was emptied, it is told from here what has been used.
CREATE TABLE limit_uses (
    used_at text COLLATE "C" NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    lane    text COLLATE "C" NOT NULL,                     -- PLATFORM/ACCOUNT
    PRIMARY KEY (used_at, task_id)
);

CREATE TABLE limit_closures (
    scope        text COLLATE "C" PRIMARY KEY,
    closed_until text COLLATE "C" NOT NULL
);
CREATE INDEX limit_closures_until ON limit_closures (closed_until);
