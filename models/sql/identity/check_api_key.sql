CREATE OR REPLACE FUNCTION check_api_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_parent api_keys;
    v_keys_above int;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.organization_id, OLD.user_id, OLD.parent_id) IS DISTINCT FROM (NEW.organization_id, NEW.user_id, NEW.parent_id) THEN
            RAISE EXCEPTION 'an API key stays whose it is'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'api_keys_stay_whose_they_are';
        END IF;
        IF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS NULL THEN
            RAISE EXCEPTION 'a revoked API key stays revoked'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'api_keys_stay_revoked';
        END IF;
        IF coalesce(NEW.expires_at, 'infinity') <= coalesce(OLD.expires_at, 'infinity')
            AND scopes_within(NEW.scopes, OLD.scopes) THEN
            RETURN NULL;
        END IF;
    ELSE
        PERFORM 1 FROM memberships m
            WHERE m.organization_id = NEW.organization_id AND m.user_id = NEW.user_id FOR SHARE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'an API key belongs to a member of its organization'
                USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'api_keys_of_a_member';
        END IF;
    END IF;
    IF NEW.parent_id IS NULL THEN
        RETURN NULL;
    END IF;

    -- Who revokes the parent waits for this transaction, or this one for him.
    SELECT * INTO v_parent FROM api_keys k WHERE k.id = NEW.parent_id FOR SHARE;
    IF (v_parent.organization_id, v_parent.user_id) IS DISTINCT FROM (NEW.organization_id, NEW.user_id) THEN
        RAISE EXCEPTION 'an API key belongs to the organization and the user of the key that made it'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'api_keys_of_their_parents_owner';
    END IF;
    IF v_parent.revoked_at IS NOT NULL OR v_parent.expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'the key that makes an API key is good itself'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'api_keys_of_a_good_parent';
    END IF;
    IF coalesce(NEW.expires_at, 'infinity') > coalesce(v_parent.expires_at, 'infinity') THEN
        RAISE EXCEPTION 'an API key ends no later than the key that made it'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'api_keys_end_with_their_parent';
    END IF;
    IF NOT scopes_within(NEW.scopes, v_parent.scopes) THEN
        RAISE EXCEPTION 'an API key may do no more than the key that made it'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'api_keys_within_their_parents_scopes';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        RETURN NULL;
    END IF;
    WITH RECURSIVE above AS (
        SELECT NEW.parent_id AS id, 1 AS keys
        UNION ALL
        SELECT k.parent_id, a.keys + 1 FROM above a JOIN api_keys k ON k.id = a.id
        WHERE k.parent_id IS NOT NULL AND a.keys < 8
    ) SELECT max(keys) INTO v_keys_above FROM above;
    IF v_keys_above >= 8 THEN
        RAISE EXCEPTION 'a chain of API keys, each made by the one before, has at most 8'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'api_keys_chain';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER api_key_checked AFTER INSERT OR UPDATE OF organization_id, user_id, parent_id, revoked_at, expires_at, scopes
    ON api_keys FOR EACH ROW EXECUTE FUNCTION check_api_key();
