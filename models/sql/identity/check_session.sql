CREATE OR REPLACE FUNCTION check_session() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.user_id IS DISTINCT FROM NEW.user_id THEN
            RAISE EXCEPTION 'a session stays whose it is'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'user_sessions_stay_whose_they_are';
        END IF;
        IF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS NULL THEN
            RAISE EXCEPTION 'a session that has ended stays ended'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'user_sessions_stay_revoked';
        END IF;
        IF OLD.organization_id = NEW.organization_id THEN
            RETURN NULL;
        END IF;
    END IF;
    PERFORM 1 FROM memberships m WHERE m.organization_id = NEW.organization_id AND m.user_id = NEW.user_id FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a session belongs to a member of its organization'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'user_sessions_of_a_member';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER session_checked AFTER INSERT OR UPDATE OF organization_id, user_id, revoked_at ON user_sessions
    FOR EACH ROW EXECUTE FUNCTION check_session();
