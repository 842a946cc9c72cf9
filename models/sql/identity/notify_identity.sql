CREATE OR REPLACE FUNCTION notify_identity() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed jsonb := coalesce(to_jsonb(NEW), to_jsonb(OLD));
BEGIN
    PERFORM pg_notify('identities', TG_TABLE_NAME || ':' || (changed ->> TG_ARGV[0]));
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER api_keys_identity AFTER INSERT OR DELETE OR UPDATE OF revoked_at, expires_at, key_hash, scopes ON api_keys
    FOR EACH ROW EXECUTE FUNCTION notify_identity('id');

CREATE OR REPLACE TRIGGER user_sessions_identity AFTER INSERT OR DELETE OR UPDATE OF revoked_at, expires_at, token_hash, organization_id
    ON user_sessions FOR EACH ROW EXECUTE FUNCTION notify_identity('id');

CREATE OR REPLACE TRIGGER memberships_identity AFTER INSERT OR DELETE OR UPDATE OF role ON memberships
    FOR EACH ROW EXECUTE FUNCTION notify_identity('user_id');

CREATE OR REPLACE TRIGGER users_identity AFTER DELETE OR UPDATE OF is_superadmin ON users
    FOR EACH ROW EXECUTE FUNCTION notify_identity('id');
