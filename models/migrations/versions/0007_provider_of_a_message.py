"""What is handed to a workflow says which provider it is about: an attribute that operators list by in the Temporal UI."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CLAIM = """
DROP FUNCTION claim_outbox(int, double precision);
CREATE FUNCTION claim_outbox(p_most int, p_lease_s double precision)
RETURNS TABLE (
    id uuid, organization_id uuid, kind text, workflow text, workflow_id text, payload jsonb, attempts int,
    provider_code text
) LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE outbox o
    SET next_attempt_at = now() + make_interval(secs => p_lease_s), attempts = o.attempts + 1
    FROM (
        SELECT d.id, (d.payload ->> 'instance_id')::uuid AS instance_id FROM outbox d
        WHERE d.delivered_at IS NULL AND d.next_attempt_at <= now()
        ORDER BY d.next_attempt_at, d.id
        LIMIT p_most FOR UPDATE SKIP LOCKED
    ) due LEFT JOIN instances i ON i.id = due.instance_id
    WHERE o.id = due.id
    RETURNING o.id, o.organization_id, o.kind::text, o.workflow, o.workflow_id, o.payload, o.attempts, i.provider_code
$$;
"""

UNFINISHED = """
DROP FUNCTION unfinished_instances(double precision);
CREATE FUNCTION unfinished_instances(p_older_than_s double precision)
RETURNS TABLE (instance_id uuid, organization_id uuid, provider_code text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT id, organization_id, provider_code FROM instances
    WHERE status NOT IN ('terminated', 'archived') AND create_attempted_at IS NOT NULL
        AND created_at < now() - make_interval(secs => p_older_than_s)
    UNION ALL
    SELECT i.id, i.organization_id, i.provider_code FROM instances i
    WHERE i.status = 'provisioning' AND i.create_attempted_at IS NULL AND i.instance_type_id IS NOT NULL
        AND i.created_at < now() - make_interval(secs => p_older_than_s)
$$;
"""


def upgrade() -> None:
    op.execute(CLAIM)
    op.execute(UNFINISHED)
    for signature in ("claim_outbox(int, double precision)", "unfinished_instances(double precision)"):
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO quarterdeck_worker")
