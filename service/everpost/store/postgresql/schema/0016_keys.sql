-- needs: 1
-- API keys and sessions of the console; see `schema.sql`. `last_used_at` changes often, so each key has room on its page.
CREATE TABLE api_keys (
    key_id       text COLLATE "C" PRIMARY KEY,
    name         text COLLATE "C" NOT NULL,
    role         text COLLATE "C" NOT NULL,
    prefix       text COLLATE "C" NOT NULL,
    digest       text COLLATE "C" NOT NULL UNIQUE,
    scope        text NOT NULL,                            -- JSON object
    rate         text,                                     -- JSON object
    created_at   text COLLATE "C" NOT NULL,
    created_by   text NOT NULL,
    expires_at   text COLLATE "C",
    revoked_at   text COLLATE "C",
    revoked_by   text,
    last_used_at text COLLATE "C"
) WITH (fillfactor = 70);
CREATE TABLE sessions (
    digest     text COLLATE "C" PRIMARY KEY,
    key_id     text COLLATE "C",
    name       text NOT NULL,
    role       text COLLATE "C" NOT NULL,
    created_at text COLLATE "C" NOT NULL,
    expires_at text COLLATE "C" NOT NULL,
    seen_at    text COLLATE "C" NOT NULL
) WITH (fillfactor = 70);
