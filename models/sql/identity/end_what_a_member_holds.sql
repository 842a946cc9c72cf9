CREATE OR REPLACE FUNCTION end_what_a_member_holds() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.organization_id, OLD.user_id) = (NEW.organization_id, NEW.user_id) THEN
        RETURN NULL;
    END IF;
    UPDATE user_sessions SET revoked_at = now()
        WHERE organization_id = OLD.organization_id AND user_id = OLD.user_id AND revoked_at IS NULL;
    -- The keys that a person made; with each goes what it made.
    UPDATE api_keys SET revoked_at = now()
        WHERE organization_id = OLD.organization_id AND user_id = OLD.user_id AND parent_id IS NULL AND revoked_at IS NULL;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER membership_ended AFTER DELETE OR UPDATE OF organization_id, user_id ON memberships
    FOR EACH ROW EXECUTE FUNCTION end_what_a_member_holds();
