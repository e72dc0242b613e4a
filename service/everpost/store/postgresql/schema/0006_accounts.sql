-- needs: 1
-- Accounts that people registered; see `schema.sql`. Each has room on its page, because its lock and status change often.
CREATE TABLE publish_accounts (
    platform        text COLLATE "C" NOT NULL,
    account_id      text COLLATE "C" NOT NULL,
    title           text NOT NULL DEFAULT '',
    options         text NOT NULL DEFAULT '{}',            -- JSON object
    credentials     text NOT NULL DEFAULT '{}',            -- JSON object: references, never secrets
    timezone        text,
    status          text COLLATE "C" NOT NULL,
    reason          text,
    since           text COLLATE "C",
    tokens          text,                                  -- rotated tokens, encrypted
    tokens_at       text COLLATE "C",
    revision        bigint NOT NULL DEFAULT 0,
    locked_by       text COLLATE "C",
    locked_until_ms bigint,
    test            text,                                  -- JSON object
    created_at      text COLLATE "C" NOT NULL,
    updated_at      text COLLATE "C" NOT NULL,
    PRIMARY KEY (platform, account_id)
) WITH (fillfactor = 70);
