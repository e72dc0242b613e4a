CREATE TABLE IF NOT EXISTS everpost_schema (
    version    bigint PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,                              -- of the file
    needs      bigint NOT NULL,                            -- older code than of this version must not write any more
    applied_at timestamptz NOT NULL DEFAULT now()
)
