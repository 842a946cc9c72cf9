CREATE OR REPLACE FUNCTION revoke_session(p_token_hash text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE user_sessions SET revoked_at = now() WHERE token_hash = p_token_hash AND revoked_at IS NULL;
    RETURN FOUND;
END $$;

GRANT EXECUTE ON FUNCTION revoke_session TO quarterdeck_api;
