"""Sign-in, and principals before the tenant is known.

Every function crosses tenants for one purpose and answers no more than that purpose needs. Who may call `open_session` has
verified a password; it is handed back here, as its stored hash, so that a password changed in between opens nothing.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

IDENTITIES = """
CREATE VIEW live_identities AS
    SELECT 'user_sessions' AS source, s.id, s.token_hash, s.user_id, s.organization_id, m.role::text AS role,
        u.is_superadmin, '[]'::jsonb AS scopes, s.expires_at
    FROM user_sessions s
    JOIN users u ON u.id = s.user_id
    JOIN memberships m ON m.user_id = s.user_id AND m.organization_id = s.organization_id
    WHERE s.revoked_at IS NULL AND s.expires_at > now()
    UNION ALL
    SELECT 'api_keys', k.id, k.key_hash, k.user_id, k.organization_id, m.role::text, u.is_superadmin, k.scopes, k.expires_at
    FROM api_keys k
    JOIN users u ON u.id = k.user_id
    JOIN memberships m ON m.user_id = k.user_id AND m.organization_id = k.organization_id
    WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now());

CREATE FUNCTION load_identities() RETURNS SETOF live_identities
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$ SELECT * FROM live_identities $$;

CREATE FUNCTION load_identities_of(p_ids uuid[], p_user_ids uuid[]) RETURNS SETOF live_identities
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT * FROM live_identities WHERE id = ANY (p_ids)
    UNION
    SELECT * FROM live_identities WHERE user_id = ANY (p_user_ids)
$$;

CREATE FUNCTION touch_identities(p_session_ids uuid[], p_session_times timestamptz[],
    p_key_ids uuid[], p_key_times timestamptz[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE user_sessions s SET last_used_at = t.used_at
    FROM unnest(p_session_ids, p_session_times) AS t(id, used_at)
    WHERE s.id = t.id AND s.last_used_at < t.used_at;
    UPDATE api_keys k SET last_used_at = t.used_at
    FROM unnest(p_key_ids, p_key_times) AS t(id, used_at)
    WHERE k.id = t.id AND (k.last_used_at IS NULL OR k.last_used_at < t.used_at);
$$;
"""

SIGN_IN = """
CREATE FUNCTION find_sign_in(p_login text) RETURNS TABLE (
    user_id uuid, email text, username text, first_name text, last_name text, password_hash text, is_superadmin boolean,
    has_personal_organization boolean, organization_id uuid, organization_role text
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT u.id, u.email, u.username, u.first_name, u.last_name, u.password_hash, u.is_superadmin,
        EXISTS (
            SELECT 1 FROM memberships p JOIN organizations o ON o.id = p.organization_id
            WHERE p.user_id = u.id AND o.is_personal AND o.created_by_user_id = u.id
        ),
        current.organization_id, current.role
    FROM users u
    LEFT JOIN LATERAL (
        SELECT m.organization_id, m.role::text AS role
        FROM memberships m
        JOIN organizations o ON o.id = m.organization_id
        LEFT JOIN LATERAL (
            SELECT max(s.created_at) AS at FROM user_sessions s
            WHERE s.user_id = u.id AND s.organization_id = m.organization_id AND s.revoked_at IS NULL
        ) last ON true
        WHERE m.user_id = u.id
        ORDER BY last.at DESC NULLS LAST, o.is_personal, m.created_at, m.organization_id
        LIMIT 1
    ) current ON true
    WHERE u.email = p_login OR u.username = p_login
    ORDER BY (u.email = p_login) DESC
    LIMIT 1
$$;

CREATE FUNCTION ensure_personal_organization(p_user_id uuid, p_new_id uuid) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    personal_slug text := 'personal-' || replace(p_user_id::text, '-', '');
    personal_id uuid;
BEGIN
    INSERT INTO organizations (id, name, slug, is_personal, allow_registration, created_by_user_id)
        VALUES (p_new_id, 'Personal', personal_slug, true, false, p_user_id) ON CONFLICT (slug) DO NOTHING;
    SELECT o.id INTO STRICT personal_id FROM organizations o
        WHERE o.slug = personal_slug AND o.is_personal AND o.created_by_user_id = p_user_id;
    INSERT INTO memberships (organization_id, user_id, role) VALUES (personal_id, p_user_id, 'owner')
        ON CONFLICT (organization_id, user_id) DO NOTHING;
    RETURN personal_id;
END $$;

CREATE FUNCTION open_session(p_session_id uuid, p_user_id uuid, p_organization_id uuid, p_password_hash text,
    p_token_hash text, p_ip_address text, p_user_agent text, p_expires_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM 1 FROM users u WHERE u.id = p_user_id AND u.password_hash = p_password_hash FOR SHARE;
    IF NOT FOUND THEN RETURN false; END IF;
    PERFORM 1 FROM memberships m WHERE m.user_id = p_user_id AND m.organization_id = p_organization_id FOR SHARE;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO user_sessions (id, organization_id, user_id, token_hash, ip_address, user_agent, expires_at)
        VALUES (p_session_id, p_organization_id, p_user_id, p_token_hash, p_ip_address, p_user_agent, p_expires_at);
    RETURN true;
END $$;

CREATE FUNCTION revoke_session(p_token_hash text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE user_sessions SET revoked_at = now() WHERE token_hash = p_token_hash AND revoked_at IS NULL;
    RETURN FOUND;
END $$;
"""

HOUSEKEEPING = """
CREATE FUNCTION purge_idempotency_keys() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH gone AS (DELETE FROM idempotency_keys WHERE expires_at < now() RETURNING 1) SELECT count(*) FROM gone
$$;
"""

API_FUNCTIONS = (
    "load_identities",
    "load_identities_of",
    "touch_identities",
    "find_sign_in",
    "ensure_personal_organization",
    "open_session",
    "revoke_session",
)


def upgrade() -> None:
    op.execute(IDENTITIES)
    op.execute(SIGN_IN)
    op.execute(HOUSEKEEPING)
    for function in API_FUNCTIONS:
        op.execute(
            f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC; GRANT EXECUTE ON FUNCTION {function} TO quarterdeck_api"
        )
    op.execute(
        "REVOKE ALL ON FUNCTION purge_idempotency_keys FROM PUBLIC;"
        "GRANT EXECUTE ON FUNCTION purge_idempotency_keys TO quarterdeck_worker"
    )
