CREATE OR REPLACE FUNCTION find_sign_in(p_login text) RETURNS TABLE (
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

GRANT EXECUTE ON FUNCTION find_sign_in TO quarterdeck_api;
