"""What a model can do, from the last heartbeat of its instance to the routes: GET /v1/models tells it, requests are held to it."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ROUTES = """
CREATE OR REPLACE VIEW routable_instances AS
    SELECT i.id AS instance_id, i.organization_id, m.model_id, i.endpoint_host, i.endpoint_port, i.generation,
        l.queue_depth,
        greatest(l.last_heartbeat_at, i.last_health_check) AS last_seen_at,
        l.report -> 'capabilities' AS capabilities
    FROM instances i
    JOIN models m ON m.id = i.model_id
    JOIN instance_liveness l ON l.instance_id = i.id AND l.generation = i.generation
    WHERE i.status = 'ready' AND i.desired_status = 'ready'
        AND i.endpoint_host IS NOT NULL AND i.endpoint_port IS NOT NULL
        AND NOT l.is_stale AND l.worker_status = 'ready' AND l.worker_model_id = m.model_id;

DROP FUNCTION load_routes(uuid[]);
CREATE FUNCTION load_routes(p_ids uuid[]) RETURNS TABLE (
    instance_id uuid, organization_id uuid, model_id text, endpoint_host text, endpoint_port int, generation int,
    queue_depth int, silent_s double precision, last_seen_at timestamptz, capabilities jsonb
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF p_ids IS NULL THEN
        RETURN QUERY SELECT r.instance_id, r.organization_id, r.model_id, r.endpoint_host, r.endpoint_port, r.generation,
            r.queue_depth, extract(epoch FROM now() - r.last_seen_at)::double precision, r.last_seen_at, r.capabilities
            FROM routable_instances r WHERE r.last_seen_at IS NOT NULL;
    ELSE
        RETURN QUERY SELECT r.instance_id, r.organization_id, r.model_id, r.endpoint_host, r.endpoint_port, r.generation,
            r.queue_depth, extract(epoch FROM now() - r.last_seen_at)::double precision, r.last_seen_at, r.capabilities
            FROM routable_instances r WHERE r.last_seen_at IS NOT NULL AND r.instance_id = ANY (p_ids);
    END IF;
END $$;
REVOKE ALL ON FUNCTION load_routes FROM PUBLIC;
GRANT EXECUTE ON FUNCTION load_routes TO quarterdeck_api;
"""


def upgrade() -> None:
    op.execute(ROUTES)
