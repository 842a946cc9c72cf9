CREATE OR REPLACE FUNCTION end_sessions_of_old_password() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- The session in which a person changes the password may go on: its transaction says which one that is.
    UPDATE user_sessions SET revoked_at = now()
    WHERE user_id = NEW.id AND revoked_at IS NULL
        AND id IS DISTINCT FROM nullif(current_setting('app.session_id', true), '')::uuid;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER password_changed AFTER UPDATE OF password_hash ON users FOR EACH ROW
    WHEN (OLD.password_hash IS DISTINCT FROM NEW.password_hash)
    EXECUTE FUNCTION end_sessions_of_old_password();
