"""Who may see which row: grants, row-level security, events and notifications.

Every tenant table is forced under row-level security for every role, its owner included. The `api` and `worker` roles see the
rows of `app.organization_id`, which a transaction sets as it begins; unset means no rows. Look-ups before the tenant is known
go through SECURITY DEFINER functions, each named for its one purpose, in the migrations that follow.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TENANT_TABLES = (
    "memberships",
    "user_sessions",
    "api_keys",
    "instances",
    "instance_liveness",
    "worker_tokens",
    "instance_volumes",
    "instance_state_history",
    "operations",
    "outbox",
    "idempotency_keys",
    "action_logs",
    "event_streams",
    "events",
    "billing_segments",
    "inference_requests",
    "inference_results",
    "provider_settings",
    "system_samples",
    "system_samples_minute",
    "gpu_samples",
    "gpu_samples_minute",
)
INSTALLATION_TABLES = (
    "providers",
    "regions",
    "zones",
    "instance_types",
    "instance_type_zones",
    "models",
    "action_types",
    "settings_definitions",
    "global_settings",
    "installation",
)

CURRENT_TENANT = """
CREATE FUNCTION current_organization() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('app.organization_id', true), '')::uuid $$;
CREATE FUNCTION current_principal_user() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('app.user_id', true), '')::uuid $$;
"""

ORGANIZATIONS_AND_USERS = """
ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE organizations FORCE ROW LEVEL SECURITY;
CREATE POLICY organizations_owner ON organizations TO quarterdeck_owner USING (true) WITH CHECK (true);
CREATE POLICY organizations_tenant ON organizations TO quarterdeck_api, quarterdeck_worker
    USING (id = (SELECT current_organization())) WITH CHECK (id = (SELECT current_organization()));
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY users_owner ON users TO quarterdeck_owner USING (true) WITH CHECK (true);
CREATE POLICY users_visible ON users FOR SELECT TO quarterdeck_api, quarterdeck_worker
    USING (
        id = (SELECT current_principal_user())
        OR EXISTS (
            SELECT 1 FROM memberships m
            WHERE m.user_id = users.id AND m.organization_id = (SELECT current_organization())
        )
    );
CREATE POLICY users_self ON users FOR UPDATE TO quarterdeck_api
    USING (id = (SELECT current_principal_user())) WITH CHECK (id = (SELECT current_principal_user()));
GRANT SELECT ON organizations, users TO quarterdeck_api, quarterdeck_worker;
GRANT UPDATE (username, email, password_hash, first_name, last_name, updated_at) ON users TO quarterdeck_api;
GRANT UPDATE (name, slug, allow_registration, domain, sidebar_color, updated_at) ON organizations TO quarterdeck_api;
"""

EVENTS = """
CREATE FUNCTION append_event(p_stream text, p_organization_id uuid, p_kind text, p_data jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE next_seq bigint;
BEGIN
    INSERT INTO event_streams AS s (stream, organization_id, last_seq) VALUES (p_stream, p_organization_id, 1)
        ON CONFLICT (stream) DO UPDATE SET last_seq = s.last_seq + 1
        RETURNING s.last_seq INTO next_seq;
    INSERT INTO events (stream, seq, organization_id, kind, data)
        VALUES (p_stream, next_seq, p_organization_id, p_kind, p_data);
    PERFORM pg_notify('events', p_stream);
    RETURN next_seq;
END $$;
GRANT EXECUTE ON FUNCTION append_event TO quarterdeck_api, quarterdeck_worker;
"""

MONEY = """
CREATE FUNCTION segment_cost_eur(
    opened_at timestamptz, until timestamptz, price_eur_per_hour numeric, increment_s int, minimum_s int
) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- Whole seconds are exact in double precision, and twice as fast as in numeric; the amount is numeric throughout.
    SELECT round(
        price_eur_per_hour
        * (ceil(greatest(ceil(date_part('epoch', until - opened_at)), minimum_s, 0) / increment_s) * increment_s)::bigint / 3600,
        6)
$$;
GRANT EXECUTE ON FUNCTION segment_cost_eur TO quarterdeck_api, quarterdeck_worker;
"""

NOTIFICATIONS = """
CREATE FUNCTION notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('outbox', ''); RETURN NULL; END $$;
CREATE TRIGGER outbox_inserted AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION notify_outbox();

CREATE FUNCTION notify_route() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('routes', NEW.id::text); RETURN NULL; END $$;
CREATE TRIGGER instance_inserted AFTER INSERT ON instances FOR EACH ROW
    WHEN (NEW.status = 'ready') EXECUTE FUNCTION notify_route();
CREATE TRIGGER instance_routed AFTER UPDATE ON instances FOR EACH ROW
    WHEN ((OLD.status, OLD.desired_status, OLD.endpoint_host, OLD.endpoint_port, OLD.generation, OLD.model_id)
        IS DISTINCT FROM
        (NEW.status, NEW.desired_status, NEW.endpoint_host, NEW.endpoint_port, NEW.generation, NEW.model_id))
    EXECUTE FUNCTION notify_route();

CREATE FUNCTION notify_identity() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed jsonb := coalesce(to_jsonb(NEW), to_jsonb(OLD));
BEGIN
    PERFORM pg_notify('identities', TG_TABLE_NAME || ':' || (changed ->> TG_ARGV[0]));
    RETURN NULL;
END $$;
"""


def upgrade() -> None:
    op.execute(CURRENT_TENANT)
    op.execute("GRANT USAGE ON SCHEMA public TO quarterdeck_api, quarterdeck_worker")
    op.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO quarterdeck_api, quarterdeck_worker")
    for table in TENANT_TABLES:
        op.execute(
            f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            CREATE POLICY {table}_owner ON {table} TO quarterdeck_owner USING (true) WITH CHECK (true);
            CREATE POLICY {table}_tenant ON {table} TO quarterdeck_api, quarterdeck_worker
                USING (organization_id = (SELECT current_organization()))
                WITH CHECK (organization_id = (SELECT current_organization()));
            GRANT SELECT, INSERT, UPDATE ON {table} TO quarterdeck_api, quarterdeck_worker;
            """
        )
    op.execute("GRANT DELETE ON idempotency_keys, inference_results TO quarterdeck_api, quarterdeck_worker")
    for table in INSTALLATION_TABLES:
        op.execute(f"GRANT SELECT ON {table} TO quarterdeck_api, quarterdeck_worker")
    op.execute(ORGANIZATIONS_AND_USERS)
    op.execute(EVENTS)
    op.execute(MONEY)
    op.execute(NOTIFICATIONS)
    for table, key, events in (
        ("api_keys", "id", "INSERT OR DELETE OR UPDATE OF revoked_at, expires_at, key_hash, scopes"),
        ("user_sessions", "id", "INSERT OR DELETE OR UPDATE OF revoked_at, expires_at, token_hash, organization_id"),
        ("memberships", "user_id", "INSERT OR DELETE OR UPDATE OF role"),
        ("users", "id", "DELETE OR UPDATE OF is_superadmin"),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_identity AFTER {events} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION notify_identity('{key}')"
        )
