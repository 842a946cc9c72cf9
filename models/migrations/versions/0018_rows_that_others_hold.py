"""What concerns many rows at once passes over those that somebody else holds, instead of waiting for them with all the others."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# A second is longer than any transaction of ours holds these rows; whoever holds them for longer is no reason to lose the rest.
HEARTBEATS = """
CREATE OR REPLACE FUNCTION record_heartbeats(p_entries jsonb) RETURNS TABLE (ordinal int, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_lock_timeout text := current_setting('lock_timeout');
    v_mine uuid[];
    v_verdicts heartbeat_verdict[];
BEGIN
    PERFORM set_config('lock_timeout', '1s', true);
    BEGIN
        SELECT array_agg(l.instance_id) INTO v_mine FROM (
            SELECT a.instance_id FROM instance_liveness a WHERE a.instance_id IN (
                SELECT t.instance_id FROM worker_tokens t
                WHERE t.token_hash IN (SELECT e ->> 'token_hash' FROM jsonb_array_elements(p_entries) AS e)
            )
            ORDER BY a.instance_id FOR UPDATE
        ) AS l;
    EXCEPTION WHEN lock_not_available THEN
        SELECT array_agg(l.instance_id) INTO v_mine FROM (
            SELECT a.instance_id FROM instance_liveness a WHERE a.instance_id IN (
                SELECT t.instance_id FROM worker_tokens t
                WHERE t.token_hash IN (SELECT e ->> 'token_hash' FROM jsonb_array_elements(p_entries) AS e)
            )
            ORDER BY a.instance_id FOR UPDATE SKIP LOCKED
        ) AS l;
    END;
    PERFORM set_config('lock_timeout', v_lock_timeout, true);
    SELECT array_agg(j) INTO v_verdicts FROM judge_heartbeats(p_entries) AS j;
    -- A row that came into being after the locks were taken is not ours either: its agent says the same again.
    SELECT array_agg((
            v.ordinal,
            CASE WHEN v.outcome = 'ok' AND l.instance_id IS NOT NULL AND NOT v.instance_id = ANY (coalesce(v_mine, '{}'))
                THEN 'busy' ELSE v.outcome END,
            v.instance_id, v.organization_id, v.generation, v.edges, v.boot_id, v.worker_id, v.status, v.phase, v.model_id,
            v.queue_depth, v.slots_total, v.slots_busy, v.gpu_utilization, v.agent_version, v.report, v.system, v.gpus
        )::heartbeat_verdict) INTO v_verdicts
        FROM unnest(v_verdicts) AS v LEFT JOIN instance_liveness l ON l.instance_id = v.instance_id;

    UPDATE instance_liveness AS l SET
        generation = v.generation, boot_id = v.boot_id, worker_id = coalesce(v.worker_id, l.worker_id),
        worker_status = v.status, phase = coalesce(v.phase, CASE WHEN l.boot_id = v.boot_id THEN l.phase END),
        worker_model_id = coalesce(v.model_id, l.worker_model_id), queue_depth = v.queue_depth,
        slots_total = v.slots_total, slots_busy = v.slots_busy, gpu_utilization = v.gpu_utilization,
        agent_version = coalesce(v.agent_version, l.agent_version), report = v.report,
        last_heartbeat_at = v_now, is_stale = false
    FROM unnest(v_verdicts) AS v
    WHERE l.instance_id = v.instance_id AND v.outcome = 'ok';

    INSERT INTO system_samples (
        instance_id, organization_id, time, queue_depth, slots_busy, cpu_usage_pct, load1, mem_used_bytes, mem_total_bytes,
        disk_used_bytes, disk_total_bytes, net_rx_bps, net_tx_bps)
    SELECT v.instance_id, v.organization_id, v_now, v.queue_depth, v.slots_busy, s.cpu_usage_pct, s.load1, s.mem_used_bytes,
        s.mem_total_bytes, s.disk_used_bytes, s.disk_total_bytes, s.net_rx_bps, s.net_tx_bps
    FROM unnest(v_verdicts) AS v, jsonb_to_record(v.system) AS s (
        cpu_usage_pct double precision, load1 double precision, mem_used_bytes bigint, mem_total_bytes bigint,
        disk_used_bytes bigint, disk_total_bytes bigint, net_rx_bps bigint, net_tx_bps bigint)
    WHERE v.outcome = 'ok' AND v.system IS NOT NULL
    ON CONFLICT DO NOTHING;

    INSERT INTO gpu_samples (
        instance_id, organization_id, time, gpu_index, gpu_utilization, vram_used_mb, vram_total_mb, temp_c, power_w,
        power_limit_w)
    SELECT v.instance_id, v.organization_id, v_now, g.gpu_index, g.gpu_utilization, g.vram_used_mb, g.vram_total_mb, g.temp_c,
        g.power_w, g.power_limit_w
    FROM unnest(v_verdicts) AS v, jsonb_to_recordset(v.gpus) AS g (
        gpu_index int, gpu_utilization double precision, vram_used_mb double precision, vram_total_mb double precision,
        temp_c double precision, power_w double precision, power_limit_w double precision)
    WHERE v.outcome = 'ok' AND v.gpus IS NOT NULL
    ON CONFLICT DO NOTHING;

    IF EXISTS (SELECT FROM unnest(v_verdicts) AS v WHERE v.outcome = 'ok' AND cardinality(v.edges) > 0) THEN
        -- Each edge a microsecond later than the one before: told in the order in which they happened.
        INSERT INTO outbox (id, created_at, organization_id, kind, workflow, workflow_id, payload, attempts)
        SELECT gen_random_uuid(), v_now + e.rank * interval '1 microsecond', v.organization_id, 'observed', 'Instance',
            'instance/' || v.instance_id,
            jsonb_build_object('instance_id', v.instance_id, 'organization_id', v.organization_id, 'edge', edge,
                'boot_id', v.boot_id, 'generation', v.generation), 0
        FROM unnest(v_verdicts) AS v, unnest(v.edges) WITH ORDINALITY AS e (edge, rank)
        WHERE v.outcome = 'ok'
        ORDER BY v.ordinal, e.rank;
    ELSE
        -- Figures that the next heartbeat brings again are not worth waiting for the disk.
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    RETURN QUERY SELECT v.ordinal, v.outcome FROM unnest(v_verdicts) AS v;
END $$;
"""

# A message that stays unsettled is delivered once more after its lease, which its owner does not mind.
OUTBOX = """
CREATE OR REPLACE FUNCTION settle_outbox(p_ids uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE outbox SET delivered_at = now(), last_error_code = NULL WHERE id IN (
        SELECT d.id FROM outbox d WHERE d.id = ANY (p_ids) AND d.delivered_at IS NULL FOR UPDATE SKIP LOCKED)
$$;
CREATE OR REPLACE FUNCTION postpone_outbox(
    p_id uuid, p_error_code text, p_delay_s double precision, p_alarm_after_s double precision DEFAULT 'infinity'
) RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE outbox SET next_attempt_at = now() + make_interval(secs => p_delay_s), last_error_code = p_error_code,
        failing_since = coalesce(failing_since, now())
    WHERE id IN (SELECT d.id FROM outbox d WHERE d.id = p_id AND d.delivered_at IS NULL FOR UPDATE SKIP LOCKED)
    RETURNING alarmed_at IS NULL AND extract(epoch FROM now() - failing_since) >= p_alarm_after_s
$$;
"""

SWEEPER = """
CREATE OR REPLACE FUNCTION mark_stale_instances(p_stale_s double precision, p_longest_gap_s double precision)
RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH silent AS (
        UPDATE instance_liveness l SET is_stale = true
        FROM (
            SELECT a.instance_id
            FROM instance_liveness a JOIN instances i ON i.id = a.instance_id CROSS JOIN installation s
            WHERE i.status = 'ready' AND NOT a.is_stale
                AND a.last_heartbeat_at < now() - make_interval(secs => p_stale_s)
                AND s.intake_since < now() - make_interval(secs => p_stale_s)
                AND s.intake_seen_at >= now() - make_interval(secs => p_longest_gap_s)
            FOR UPDATE OF a SKIP LOCKED
        ) due
        WHERE l.instance_id = due.instance_id
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
"""


def upgrade() -> None:
    op.execute(HEARTBEATS)
    op.execute(OUTBOX)
    op.execute(SWEEPER)
