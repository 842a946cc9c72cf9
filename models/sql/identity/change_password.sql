-- The user's row first: who changes the password before this does ends the session, and is seen in the next statement.
CREATE OR REPLACE FUNCTION change_password(p_user_id uuid, p_session_id uuid, p_former_hash text, p_new_hash text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM 1 FROM users u WHERE u.id = p_user_id FOR NO KEY UPDATE;
    PERFORM 1 FROM user_sessions s WHERE s.id = p_session_id AND s.user_id = p_user_id AND s.revoked_at IS NULL;
    IF NOT FOUND THEN
        RETURN 'session_ended';
    END IF;
    PERFORM set_config('app.session_id', p_session_id::text, true);  -- the one that goes on
    UPDATE users SET password_hash = p_new_hash, updated_at = now() WHERE id = p_user_id AND password_hash = p_former_hash;
    RETURN CASE WHEN FOUND THEN 'changed' ELSE 'other_password' END;
END $$;

GRANT EXECUTE ON FUNCTION change_password TO quarterdeck_api;
