"""A message whose payload names no instance, in whatever way, is claimed like the others: it held up the outbox of everybody."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

CLAIM = """
CREATE OR REPLACE FUNCTION claim_outbox(p_most int, p_lease_s double precision)
RETURNS TABLE (
    id uuid, organization_id uuid, kind text, workflow text, workflow_id text, payload jsonb, attempts int,
    provider_code text
) LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE outbox o
    SET next_attempt_at = now() + make_interval(secs => p_lease_s), attempts = o.attempts + 1
    FROM (
        SELECT d.id,
            CASE WHEN pg_input_is_valid(d.payload ->> 'instance_id', 'uuid')
                THEN (d.payload ->> 'instance_id')::uuid END AS instance_id
        FROM outbox d
        WHERE d.delivered_at IS NULL AND d.next_attempt_at <= now()
        ORDER BY d.next_attempt_at, d.id
        LIMIT p_most FOR UPDATE SKIP LOCKED
    ) due LEFT JOIN instances i ON i.id = due.instance_id
    WHERE o.id = due.id
    RETURNING o.id, o.organization_id, o.kind::text, o.workflow, o.workflow_id, o.payload, o.attempts, i.provider_code
$$;
"""


def upgrade() -> None:
    op.execute(CLAIM)
