-- needs: 1
-- What was posted a short time ago to the accounts of platforms with a duplicate guard. Rows go once their window has ended.
CREATE TABLE recent_posts (
    digest   text COLLATE "C" NOT NULL,                    -- of the account and the content
    task_id  text COLLATE "C" NOT NULL,
    at_ms    bigint NOT NULL,                              -- when it was to be posted
    until_ms bigint NOT NULL,
    PRIMARY KEY (digest, task_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX recent_posts_until ON recent_posts (until_ms);
