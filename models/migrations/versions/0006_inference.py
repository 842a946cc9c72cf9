"""The inference path: its routes into memory, its records out of it.

All three functions cross tenants on purpose, which is why they are functions with one purpose each and not grants: the API
process routes for every organization and records for every organization. Sharing instances between organizations is not
there yet; `load_routes` is where it will be added.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ROUTES = """
CREATE VIEW routable_instances AS
    SELECT i.id AS instance_id, i.organization_id, m.model_id, i.endpoint_host, i.endpoint_port, i.generation,
        l.queue_depth,
        greatest(l.last_heartbeat_at, i.last_health_check) AS last_seen_at
    FROM instances i
    JOIN models m ON m.id = i.model_id
    JOIN instance_liveness l ON l.instance_id = i.id AND l.generation = i.generation
    WHERE i.status = 'ready' AND i.desired_status = 'ready'
        AND i.endpoint_host IS NOT NULL AND i.endpoint_port IS NOT NULL
        AND NOT l.is_stale AND l.worker_status = 'ready' AND l.worker_model_id = m.model_id;

CREATE FUNCTION load_routes(p_ids uuid[]) RETURNS TABLE (
    instance_id uuid, organization_id uuid, model_id text, endpoint_host text, endpoint_port int, generation int,
    queue_depth int, silent_s double precision, last_seen_at timestamptz
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF p_ids IS NULL THEN
        RETURN QUERY SELECT r.instance_id, r.organization_id, r.model_id, r.endpoint_host, r.endpoint_port, r.generation,
            r.queue_depth, extract(epoch FROM now() - r.last_seen_at)::double precision, r.last_seen_at
            FROM routable_instances r WHERE r.last_seen_at IS NOT NULL;
    ELSE
        RETURN QUERY SELECT r.instance_id, r.organization_id, r.model_id, r.endpoint_host, r.endpoint_port, r.generation,
            r.queue_depth, extract(epoch FROM now() - r.last_seen_at)::double precision, r.last_seen_at
            FROM routable_instances r WHERE r.last_seen_at IS NOT NULL AND r.instance_id = ANY (p_ids);
    END IF;
END $$;
REVOKE ALL ON FUNCTION load_routes FROM PUBLIC;
GRANT EXECUTE ON FUNCTION load_routes TO quarterdeck_api;
"""

CATALOG = """
CREATE FUNCTION notify_model() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('models', coalesce(NEW.id, OLD.id)::text); RETURN NULL; END $$;
CREATE TRIGGER models_changed AFTER INSERT OR DELETE OR UPDATE OF code, model_id, is_active ON models
    FOR EACH ROW EXECUTE FUNCTION notify_model();
"""

RECORDS = """
CREATE FUNCTION record_inference(p_records jsonb) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH given AS (
        SELECT r.* FROM jsonb_to_recordset(p_records) AS r(
            id uuid, retried_as uuid, request_id text, organization_id uuid, user_id uuid, api_key_id uuid, model_id uuid, model text,
            instance_id uuid, endpoint text, is_stream boolean, outcome text, http_status int, input_tokens int,
            output_tokens int, usage_source text, started_at timestamptz, first_byte_at timestamptz,
            completed_at timestamptz)
    ), attributable AS (
        SELECT g.id, g.retried_as, g.request_id, o.id AS organization_id, u.id AS user_id, k.id AS api_key_id, m.id AS model_id, g.model,
            i.id AS instance_id, g.endpoint, g.is_stream, g.outcome, g.http_status, g.input_tokens, g.output_tokens,
            g.usage_source, g.started_at, g.first_byte_at, g.completed_at
        FROM given g
        JOIN organizations o ON o.id = g.organization_id
        JOIN users u ON u.id = g.user_id
        LEFT JOIN api_keys k ON k.id = g.api_key_id
        LEFT JOIN models m ON m.id = g.model_id
        LEFT JOIN instances i ON i.id = g.instance_id
    ), written AS (
        INSERT INTO inference_requests (
            id, retried_as, request_id, organization_id, user_id, api_key_id, model_id, model, instance_id, endpoint, is_stream,
            outcome, http_status, input_tokens, output_tokens, usage_source, started_at, first_byte_at, completed_at)
        SELECT * FROM attributable
        ON CONFLICT (id) DO NOTHING
    )
    SELECT ((SELECT count(*) FROM given) - (SELECT count(*) FROM attributable))::integer
$$;
REVOKE ALL ON FUNCTION record_inference FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_inference TO quarterdeck_api;
"""

RESULTS = """
CREATE FUNCTION purge_inference_results() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM inference_results WHERE expires_at < now()
$$;
REVOKE ALL ON FUNCTION purge_inference_results FROM PUBLIC;
GRANT EXECUTE ON FUNCTION purge_inference_results TO quarterdeck_api;
"""


def upgrade() -> None:
    op.execute(ROUTES)
    op.execute(CATALOG)
    op.execute(RECORDS)
    op.execute(RESULTS)
