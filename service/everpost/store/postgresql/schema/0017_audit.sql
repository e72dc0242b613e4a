-- needs: 1
-- Who did what; see `schema.sql`. Rows are only added; `audit_purging` in everpost_meta is there inside of a purge only.
CREATE TABLE audit_log (
    audit_id text COLLATE "C" PRIMARY KEY,
    at       text COLLATE "C" NOT NULL,
    who      text NOT NULL,
    role     text NOT NULL,
    key_id   text,
    action   text NOT NULL,
    how      text NOT NULL,
    address  text,
    target   text COLLATE "C",
    why      text,
    details  text NOT NULL,                                -- JSON object
    outcome  text NOT NULL
);
CREATE INDEX audit_log_target ON audit_log (target, audit_id) WHERE target IS NOT NULL;

CREATE FUNCTION everpost_keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.at < (SELECT value COLLATE "C" FROM everpost_meta WHERE key = 'audit_purging') THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit_log: rows are only added' USING ERRCODE = '55000';
END $$;
CREATE TRIGGER audit_log_kept BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION everpost_keep_audit();
CREATE FUNCTION everpost_keep_audit_whole() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log: rows are only added' USING ERRCODE = '55000';
END $$;
CREATE TRIGGER audit_log_kept_whole BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION everpost_keep_audit_whole();
