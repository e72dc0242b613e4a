-- needs: 3
-- Media; see `schema.sql`. An original file's rows come here by `everpost move`.

CREATE TABLE file_records (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    filename      text,
    filesize      double precision,                        -- in megabytes, as the original counts
    file_path     text,                                    -- relative to the root
    upload_time   text COLLATE "C",
    status        text DEFAULT 'pending',                  -- pending | published
    published_at  text COLLATE "C",                        -- when a task with it succeeded last
    last_platform text,
    last_accounts text,                                    -- JSON list
    title         text,
    description   text,
    tags          text,
    cover_image   text,
    duration      double precision,                        -- in seconds
    -- added
    file_id       text COLLATE "C" NOT NULL UNIQUE,
    root          text COLLATE "C",                        -- NULL: EVERPOST_MEDIA; 'uploads': EVERPOST_FILES; or of file_roots
    size_bytes    bigint,
    sha256        text COLLATE "C",
    content_type  text,
    width         bigint,
    height        bigint,
    changed_ns    bigint,                                  -- the file's time of change when its digest was made
    created_at    text COLLATE "C",
    used_at       text COLLATE "C"                         -- when a task that names it ended last
);
CREATE INDEX file_records_root ON file_records (root, size_bytes) WHERE root IS NOT NULL;
-- An index entry holds 2,700 bytes, and a path can be longer.
CREATE UNIQUE INDEX file_records_place ON file_records (root, md5(file_path)) WHERE root IS NOT NULL;
CREATE INDEX file_records_unused ON file_records (coalesce(used_at, created_at)) WHERE root = 'uploads';
CREATE INDEX file_records_inherited ON file_records (id) WHERE created_at IS NULL;

CREATE TABLE file_roots (
    name   text COLLATE "C" PRIMARY KEY,
    folder text NOT NULL
);

CREATE TABLE file_uploads (
    file_id    text COLLATE "C" PRIMARY KEY,
    filename   text NOT NULL,
    size_bytes bigint,                                     -- NULL: not known yet
    metadata   text NOT NULL DEFAULT '',                   -- of the client, see tus.io
    created_at text COLLATE "C" NOT NULL,
    expires_at text COLLATE "C" NOT NULL
);
CREATE INDEX file_uploads_expires ON file_uploads (expires_at);

CREATE TABLE file_uses (
    file_id text COLLATE "C" NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (file_id, task_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX file_uses_task ON file_uses (task_id);
