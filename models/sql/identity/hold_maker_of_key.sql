-- A row that another transaction has ended meanwhile is no row: its condition is looked at again once the lock is there. The
-- membership comes first, as for whoever ends that.
CREATE OR REPLACE FUNCTION hold_maker_of_key(p_user_id uuid, p_api_key_id uuid, p_session_id uuid, p_now timestamptz)
RETURNS TABLE (api_key_id uuid, scopes jsonb, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM 1 FROM memberships m WHERE m.organization_id = current_organization() AND m.user_id = p_user_id FOR SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF p_api_key_id IS NOT NULL THEN
        RETURN QUERY SELECT k.id, k.scopes, k.expires_at FROM api_keys k
            WHERE k.id = p_api_key_id AND k.organization_id = current_organization() AND k.user_id = p_user_id
                AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > p_now)
            FOR SHARE;
    ELSE
        RETURN QUERY SELECT NULL::uuid, '[]'::jsonb, NULL::timestamptz FROM user_sessions s
            WHERE s.id = p_session_id AND s.organization_id = current_organization() AND s.user_id = p_user_id
                AND s.revoked_at IS NULL AND s.expires_at > p_now
            FOR SHARE;
    END IF;
END $$;

GRANT EXECUTE ON FUNCTION hold_maker_of_key TO quarterdeck_api;
