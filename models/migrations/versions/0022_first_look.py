"""Agents that did not come back: those that are known to be dead, and those not heard of since we listen again."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

DEAD = """
-- After a power cut rows still say `ready`. A heartbeat takes the word of this back, and none comes from the dead.
CREATE FUNCTION report_dead_agents(p_instances uuid[]) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH dead AS (
        SELECT i.id, i.organization_id, i.generation, i.status FROM instances i
        WHERE i.id = ANY (p_instances)
            AND i.status IN ('provisioning', 'booting', 'installing', 'starting', 'ready', 'unavailable')
    ), silent AS (
        UPDATE instance_liveness l SET is_stale = true FROM dead d
        WHERE l.instance_id = d.id AND d.status = 'ready' AND NOT l.is_stale
    ), told AS (
        INSERT INTO outbox (id, organization_id, kind, workflow, workflow_id, payload, created_at, next_attempt_at, attempts)
        SELECT gen_random_uuid(), d.organization_id, 'observed', 'Instance', 'instance/' || d.id,
            jsonb_build_object(
                'instance_id', d.id, 'organization_id', d.organization_id,
                'edge', 'unheard', 'boot_id', NULL, 'generation', d.generation),
            now(), now(), 0
        FROM dead d
    )
    SELECT id FROM dead
$$;
"""

UNHEARD = """
ALTER TABLE instance_liveness ADD COLUMN doubted_at timestamptz;
-- Nobody is taken for dead by this: an owner that is told looks at its machine, once for each time that we were away.
CREATE FUNCTION doubt_unheard_agents(p_longest_gap_s double precision, p_most int) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH unheard AS (
        SELECT l.instance_id
        FROM instance_liveness l JOIN instances i ON i.id = l.instance_id CROSS JOIN installation s
        WHERE i.status = 'ready' AND NOT l.is_stale
            AND l.last_heartbeat_at < s.intake_since
            AND s.intake_seen_at >= now() - make_interval(secs => p_longest_gap_s)
            AND coalesce(l.doubted_at, '-infinity') < s.intake_since
        ORDER BY l.last_heartbeat_at LIMIT p_most FOR UPDATE OF l SKIP LOCKED
    ), doubted AS (
        UPDATE instance_liveness l SET doubted_at = now() FROM unheard u WHERE l.instance_id = u.instance_id
        RETURNING l.instance_id, l.organization_id, l.boot_id, l.generation
    ), told AS (
        INSERT INTO outbox (id, organization_id, kind, workflow, workflow_id, payload, created_at, next_attempt_at, attempts)
        SELECT gen_random_uuid(), organization_id, 'observed', 'Instance', 'instance/' || instance_id,
            jsonb_build_object(
                'instance_id', instance_id, 'organization_id', organization_id,
                'edge', 'unheard', 'boot_id', boot_id, 'generation', generation),
            now(), now(), 0
        FROM doubted
    )
    SELECT instance_id FROM doubted
$$;
"""


def upgrade() -> None:
    op.execute(DEAD)
    op.execute(UNHEARD)
    for signature in ("report_dead_agents(uuid[])", "doubt_unheard_agents(double precision, int)"):
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION doubt_unheard_agents(double precision, int) TO quarterdeck_worker")
