-- From now on, every process is refused to write tasks, whatever it has open; writes that are going on end before that.
SET LOCAL lock_timeout = '10s';
CREATE OR REPLACE FUNCTION everpost_refuse_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'this database is moved to another one' USING ERRCODE = '55000';
END $$;
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON task_queue EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON publish_tasks EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON publish_tasks_archive EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON decisions EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON task_edits EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON recurring_posts EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON idempotency_keys EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON recent_posts EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON batches EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON operations EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON operation_skips EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON file_records EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON file_roots EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON file_uploads EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON file_uses EXECUTE FUNCTION everpost_refuse_moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON publish_accounts EXECUTE FUNCTION everpost_refuse_moved();
