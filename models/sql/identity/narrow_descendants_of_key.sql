CREATE OR REPLACE FUNCTION narrow_descendants_of_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM 1 FROM api_keys k JOIN keys_beyond(NEW.id) b ON b.id = k.id ORDER BY b.depth, k.id FOR NO KEY UPDATE OF k;
    -- What was committed while this waited is seen from here on. The trigger fires for each of these rows in turn, and finds
    -- what somebody put below one of them just before it was locked.
    UPDATE api_keys k SET revoked_at = b.revoked_at, expires_at = b.expires_at, scopes = b.scopes
        FROM keys_beyond(NEW.id) b WHERE k.id = b.id;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER api_key_narrowed AFTER UPDATE OF revoked_at, expires_at, scopes ON api_keys FOR EACH ROW
    WHEN ((OLD.revoked_at, OLD.expires_at, OLD.scopes) IS DISTINCT FROM (NEW.revoked_at, NEW.expires_at, NEW.scopes))
    EXECUTE FUNCTION narrow_descendants_of_key();
