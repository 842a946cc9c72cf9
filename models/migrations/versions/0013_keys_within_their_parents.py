"""A key is never more than the key that made it, and a membership that ends takes keys and sessions along, whatever meets what.

The checks run after the row is written, behind row-level security: what another tenant has shows in no error. They take the
membership's row first and the parent's second, and whoever ends something takes rows from the top of a tree to its bottom: nobody
waits in a circle.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SCOPES = """
-- No scopes are all that the role has.
CREATE FUNCTION scopes_within(p_scopes jsonb, p_whole jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_whole = '[]' OR (p_scopes <> '[]' AND p_scopes <@ p_whole)
$$;
-- NULL where nothing is common: an empty list would be everything.
CREATE FUNCTION common_scopes(p_scopes jsonb, p_whole jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_whole = '[]' THEN p_scopes
        WHEN p_scopes = '[]' THEN p_whole
        ELSE (SELECT jsonb_agg(s.scope ORDER BY s.place)
            FROM jsonb_array_elements(p_scopes) WITH ORDINALITY AS s (scope, place) WHERE p_whole @> s.scope)
    END
$$;
"""

KEYS = """
CREATE FUNCTION check_api_key() RETURNS trigger
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
CREATE TRIGGER api_key_checked AFTER INSERT OR UPDATE OF organization_id, user_id, parent_id, revoked_at, expires_at, scopes
    ON api_keys FOR EACH ROW EXECUTE FUNCTION check_api_key();
"""

CASCADE = """
DROP TRIGGER api_key_ended ON api_keys;
DROP FUNCTION end_descendants_of_key;

-- The keys below this one that are more than it is, and what they may be. Where one is not, nothing below it is.
CREATE FUNCTION keys_beyond(p_key_id uuid)
RETURNS TABLE (id uuid, depth int, revoked_at timestamptz, expires_at timestamptz, scopes jsonb)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH RECURSIVE narrowed AS (
        SELECT k.id, 0 AS depth, k.revoked_at, k.expires_at, k.scopes FROM api_keys k WHERE k.id = p_key_id
        UNION ALL
        SELECT k.id, n.depth + 1,
            CASE WHEN n.revoked_at IS NOT NULL THEN n.revoked_at WHEN c.scopes IS NULL THEN now() END,
            least(k.expires_at, n.expires_at),
            coalesce(c.scopes, k.scopes)
        FROM narrowed n
        JOIN api_keys k ON k.parent_id = n.id
        CROSS JOIN LATERAL (SELECT common_scopes(k.scopes, n.scopes) AS scopes) c
        WHERE k.revoked_at IS NULL AND (
            n.revoked_at IS NOT NULL
            OR coalesce(k.expires_at, 'infinity') > coalesce(n.expires_at, 'infinity')
            OR NOT scopes_within(k.scopes, n.scopes))
    )
    SELECT * FROM narrowed WHERE depth > 0
$$;

CREATE FUNCTION narrow_descendants_of_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM 1 FROM api_keys k JOIN keys_beyond(NEW.id) b ON b.id = k.id ORDER BY b.depth, k.id FOR NO KEY UPDATE OF k;
    -- What was committed while this waited is seen from here on. The trigger fires for each of these rows in turn, and finds
    -- what somebody put below one of them just before it was locked.
    UPDATE api_keys k SET revoked_at = b.revoked_at, expires_at = b.expires_at, scopes = b.scopes
        FROM keys_beyond(NEW.id) b WHERE k.id = b.id;
    RETURN NULL;
END $$;
CREATE TRIGGER api_key_narrowed AFTER UPDATE OF revoked_at, expires_at, scopes ON api_keys FOR EACH ROW
    WHEN ((OLD.revoked_at, OLD.expires_at, OLD.scopes) IS DISTINCT FROM (NEW.revoked_at, NEW.expires_at, NEW.scopes))
    EXECUTE FUNCTION narrow_descendants_of_key();
"""

SESSIONS = """
CREATE FUNCTION check_session() RETURNS trigger
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
CREATE TRIGGER session_checked AFTER INSERT OR UPDATE OF organization_id, user_id, revoked_at ON user_sessions
    FOR EACH ROW EXECUTE FUNCTION check_session();
"""

MEMBERSHIPS = """
CREATE FUNCTION end_what_a_member_holds() RETURNS trigger
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
CREATE TRIGGER membership_ended AFTER DELETE OR UPDATE OF organization_id, user_id ON memberships
    FOR EACH ROW EXECUTE FUNCTION end_what_a_member_holds();
"""

# A note of when a key was used waits for nobody who is ending it, else the two could wait for each other.
TOUCH = """
CREATE OR REPLACE FUNCTION touch_identities(p_session_ids uuid[], p_session_times timestamptz[],
    p_key_ids uuid[], p_key_times timestamptz[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE user_sessions s SET last_used_at = free.used_at
    FROM (
        SELECT f.id, t.used_at FROM user_sessions f JOIN unnest(p_session_ids, p_session_times) AS t(id, used_at) USING (id)
        WHERE f.last_used_at < t.used_at FOR NO KEY UPDATE OF f SKIP LOCKED
    ) free
    WHERE s.id = free.id;
    UPDATE api_keys k SET last_used_at = free.used_at
    FROM (
        SELECT f.id, t.used_at FROM api_keys f JOIN unnest(p_key_ids, p_key_times) AS t(id, used_at) USING (id)
        WHERE f.last_used_at IS NULL OR f.last_used_at < t.used_at FOR NO KEY UPDATE OF f SKIP LOCKED
    ) free
    WHERE k.id = free.id;
$$;
"""

# What slipped through before these rules: once, from the top of every tree to its bottom.
MEND = """
UPDATE user_sessions s SET revoked_at = now() WHERE revoked_at IS NULL
    AND NOT EXISTS (SELECT FROM memberships m WHERE m.organization_id = s.organization_id AND m.user_id = s.user_id);
WITH RECURSIVE fitting AS (
    SELECT k.id, k.organization_id, k.user_id, k.expires_at, k.scopes,
        CASE WHEN EXISTS (SELECT FROM memberships m WHERE m.organization_id = k.organization_id AND m.user_id = k.user_id)
            THEN k.revoked_at ELSE coalesce(k.revoked_at, now()) END AS revoked_at
    FROM api_keys k WHERE k.parent_id IS NULL
    UNION ALL
    SELECT k.id, k.organization_id, k.user_id, least(k.expires_at, f.expires_at), coalesce(c.scopes, k.scopes),
        CASE WHEN c.scopes IS NULL OR (k.organization_id, k.user_id) IS DISTINCT FROM (f.organization_id, f.user_id)
            THEN coalesce(k.revoked_at, f.revoked_at, now()) ELSE coalesce(k.revoked_at, f.revoked_at) END
    FROM fitting f
    JOIN api_keys k ON k.parent_id = f.id
    CROSS JOIN LATERAL (SELECT common_scopes(k.scopes, f.scopes) AS scopes) c
)
UPDATE api_keys k SET revoked_at = f.revoked_at, expires_at = f.expires_at, scopes = f.scopes
FROM fitting f
WHERE k.id = f.id AND (k.revoked_at, k.expires_at, k.scopes) IS DISTINCT FROM (f.revoked_at, f.expires_at, f.scopes);
"""

# The first has been part of purge_expired since the sweeper has it, the second had no caller ever.
UNUSED = """
DROP FUNCTION purge_idempotency_keys();
DROP FUNCTION next_outbox_delay_s();
"""

OF_TRIGGERS_ONLY = """
REVOKE ALL ON FUNCTION scopes_within, common_scopes, check_api_key, keys_beyond, narrow_descendants_of_key, check_session,
    end_what_a_member_holds FROM PUBLIC, quarterdeck_api, quarterdeck_worker;
"""


def upgrade() -> None:
    op.execute(SCOPES)
    op.execute(CASCADE)
    op.execute(MEND)
    for rule in (KEYS, SESSIONS, MEMBERSHIPS, TOUCH, UNUSED, OF_TRIGGERS_ONLY):
        op.execute(rule)
