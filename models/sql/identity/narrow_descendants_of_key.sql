CREATE OR REPLACE FUNCTION narrow_descendants_of_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_held uuid[] := '{}';
    v_found uuid[];
BEGIN
    -- From the top to the bottom, and again for what somebody committed below a key while this waited for it. What is held has no
    -- new keys below it, so that at the end all are held, and the change waits for nobody: it takes rows in any order.
    LOOP
        SELECT coalesce(array_agg(l.id), '{}') INTO v_found FROM (
            SELECT k.id FROM api_keys k JOIN keys_beyond(NEW.id) b ON b.id = k.id ORDER BY b.depth, k.id
            FOR NO KEY UPDATE OF k
        ) l;
        EXIT WHEN v_found <@ v_held;
        v_held := v_held || v_found;
    END LOOP;
    UPDATE api_keys k SET revoked_at = b.revoked_at, expires_at = b.expires_at, scopes = b.scopes
        FROM keys_beyond(NEW.id) b WHERE k.id = b.id;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER api_key_narrowed AFTER UPDATE OF revoked_at, expires_at, scopes ON api_keys FOR EACH ROW
    WHEN ((OLD.revoked_at, OLD.expires_at, OLD.scopes) IS DISTINCT FROM (NEW.revoked_at, NEW.expires_at, NEW.scopes))
    EXECUTE FUNCTION narrow_descendants_of_key();
