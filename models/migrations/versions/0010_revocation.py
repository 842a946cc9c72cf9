"""Revoking reaches what hangs on it: keys that a key made, and the sessions of a password that was changed.

Triggers and not statements of the API: whoever ends a key or changes a password, ends what goes with it, in one transaction. They
belong to the owner role, since a session of the same user may be in another organization than the one that the change is made in.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

PARENTS = """
ALTER TABLE api_keys ADD COLUMN parent_id uuid REFERENCES api_keys (id);
CREATE INDEX ix_api_keys_parent_id ON api_keys (parent_id);

CREATE FUNCTION end_descendants_of_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE api_keys SET revoked_at = NEW.revoked_at
    WHERE parent_id = NEW.id AND NEW.revoked_at IS NOT NULL AND revoked_at IS NULL;
    UPDATE api_keys SET expires_at = NEW.expires_at
    WHERE parent_id = NEW.id AND (expires_at IS NULL OR expires_at > NEW.expires_at);
    RETURN NULL;
END $$;
CREATE TRIGGER api_key_ended AFTER UPDATE OF revoked_at, expires_at ON api_keys FOR EACH ROW
    WHEN ((OLD.revoked_at, OLD.expires_at) IS DISTINCT FROM (NEW.revoked_at, NEW.expires_at))
    EXECUTE FUNCTION end_descendants_of_key();
"""

PASSWORDS = """
CREATE FUNCTION end_sessions_of_old_password() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- The session in which a person changes the password may go on: its transaction says which one that is.
    UPDATE user_sessions SET revoked_at = now()
    WHERE user_id = NEW.id AND revoked_at IS NULL
        AND id IS DISTINCT FROM nullif(current_setting('app.session_id', true), '')::uuid;
    RETURN NULL;
END $$;
CREATE TRIGGER password_changed AFTER UPDATE OF password_hash ON users FOR EACH ROW
    WHEN (OLD.password_hash IS DISTINCT FROM NEW.password_hash)
    EXECUTE FUNCTION end_sessions_of_old_password();
"""

OF_TRIGGERS_ONLY = """
REVOKE ALL ON FUNCTION end_descendants_of_key, end_sessions_of_old_password
    FROM PUBLIC, quarterdeck_api, quarterdeck_worker;
"""


def upgrade() -> None:
    op.execute(PARENTS)
    op.execute(PASSWORDS)
    op.execute(OF_TRIGGERS_ONLY)
