"""The outbox, and the questions of the sweeper, across all organizations."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OUTBOX = """
CREATE FUNCTION claim_outbox(p_most int, p_lease_s double precision)
RETURNS TABLE (
    id uuid, organization_id uuid, kind text, workflow text, workflow_id text, payload jsonb, attempts int
) LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE outbox o
    SET next_attempt_at = now() + make_interval(secs => p_lease_s), attempts = o.attempts + 1
    FROM (
        SELECT d.id FROM outbox d
        WHERE d.delivered_at IS NULL AND d.next_attempt_at <= now()
        ORDER BY d.next_attempt_at, d.id
        LIMIT p_most FOR UPDATE SKIP LOCKED
    ) due
    WHERE o.id = due.id
    RETURNING o.id, o.organization_id, o.kind::text, o.workflow, o.workflow_id, o.payload, o.attempts
$$;
CREATE FUNCTION settle_outbox(p_ids uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE outbox SET delivered_at = now(), last_error_code = NULL WHERE id = ANY (p_ids) AND delivered_at IS NULL
$$;
CREATE FUNCTION postpone_outbox(p_id uuid, p_error_code text, p_delay_s double precision) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE outbox SET next_attempt_at = now() + make_interval(secs => p_delay_s), last_error_code = p_error_code
    WHERE id = p_id AND delivered_at IS NULL
$$;
CREATE FUNCTION next_outbox_delay_s() RETURNS double precision
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT extract(epoch FROM min(next_attempt_at) - now())::double precision FROM outbox WHERE delivered_at IS NULL
$$;
"""

SWEEPER = """
-- Silence counts only where somebody listened: after an outage of the API or of this database every agent gets its full time anew.
CREATE FUNCTION mark_stale_instances(p_stale_s double precision, p_longest_gap_s double precision) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH silent AS (
        UPDATE instance_liveness l SET is_stale = true
        FROM instances i, installation s
        WHERE i.id = l.instance_id AND i.status = 'ready' AND NOT l.is_stale
            AND l.last_heartbeat_at < now() - make_interval(secs => p_stale_s)
            AND s.intake_since < now() - make_interval(secs => p_stale_s)
            AND s.intake_seen_at >= now() - make_interval(secs => p_longest_gap_s)
        RETURNING l.instance_id, l.organization_id, l.boot_id, l.generation
    ), told AS (
        INSERT INTO outbox (id, organization_id, kind, workflow, workflow_id, payload, created_at, next_attempt_at, attempts)
        SELECT gen_random_uuid(), organization_id, 'observed', 'Instance', 'instance/' || instance_id,
            jsonb_build_object(
                'instance_id', instance_id, 'organization_id', organization_id,
                'edge', 'lost', 'boot_id', boot_id, 'generation', generation),
            now(), now(), 0
        FROM silent
    )
    SELECT instance_id FROM silent
$$;
CREATE FUNCTION unfinished_instances(p_older_than_s double precision)
RETURNS TABLE (instance_id uuid, organization_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT id, organization_id FROM instances
    WHERE status NOT IN ('terminated', 'archived') AND create_attempted_at IS NOT NULL
        AND created_at < now() - make_interval(secs => p_older_than_s)
    UNION ALL
    SELECT i.id, i.organization_id FROM instances i
    WHERE i.status = 'provisioning' AND i.create_attempted_at IS NULL AND i.instance_type_id IS NOT NULL
        AND i.created_at < now() - make_interval(secs => p_older_than_s)
$$;
CREATE FUNCTION purge_expired(p_delivered_kept_s double precision, p_events_kept_s double precision) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE purged bigint := 0; step bigint;
BEGIN
    DELETE FROM outbox WHERE delivered_at < now() - make_interval(secs => p_delivered_kept_s);
    GET DIAGNOSTICS step = ROW_COUNT; purged := purged + step;
    DELETE FROM events WHERE created_at < now() - make_interval(secs => p_events_kept_s);
    GET DIAGNOSTICS step = ROW_COUNT; purged := purged + step;
    -- A stream whose operation is long over gets no further event, so that its counter may go. Organizations keep theirs.
    DELETE FROM event_streams s WHERE s.stream LIKE 'operation/%'
        AND NOT EXISTS (SELECT FROM events e WHERE e.stream = s.stream)
        AND EXISTS (SELECT FROM operations o WHERE o.id = substr(s.stream, length('operation/') + 1)::uuid
            AND o.completed_at < now() - make_interval(secs => p_events_kept_s));
    GET DIAGNOSTICS step = ROW_COUNT; purged := purged + step;
    DELETE FROM idempotency_keys WHERE expires_at < now();
    GET DIAGNOSTICS step = ROW_COUNT; purged := purged + step;
    RETURN purged;
END $$;
"""


INDEXES = """
CREATE INDEX ix_outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;
CREATE INDEX ix_idempotency_keys_expires_at ON idempotency_keys (expires_at);
"""


def upgrade() -> None:
    op.execute(INDEXES)
    op.execute(OUTBOX)
    op.execute(SWEEPER)
    for signature in (
        "claim_outbox(int, double precision)",
        "settle_outbox(uuid[])",
        "postpone_outbox(uuid, text, double precision)",
        "next_outbox_delay_s()",
        "mark_stale_instances(double precision, double precision)",
        "unfinished_instances(double precision)",
        "purge_expired(double precision, double precision)",
    ):
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO quarterdeck_worker")
    op.execute("GRANT EXECUTE ON FUNCTION settle_outbox(uuid[]) TO quarterdeck_api")
