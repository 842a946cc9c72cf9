-- Who may call this has verified a password; it is handed back here, as its stored hash, so that a password changed in between
-- opens nothing.
CREATE OR REPLACE FUNCTION open_session(p_session_id uuid, p_user_id uuid, p_organization_id uuid, p_password_hash text,
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

GRANT EXECUTE ON FUNCTION open_session TO quarterdeck_api;
