"""Registration, heartbeats and their samples."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

LOCATE = """
CREATE FUNCTION locate_worker_token(p_instance_id uuid, p_token_hash text)
RETURNS TABLE (is_known boolean, organization_id uuid, token_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT i.id IS NOT NULL, t.organization_id, t.id
    FROM (SELECT p_instance_id AS id) AS asked
    LEFT JOIN instances i USING (id)
    LEFT JOIN worker_tokens t ON t.instance_id = asked.id AND p_token_hash IN (t.bootstrap_hash, t.token_hash)
$$;
REVOKE ALL ON FUNCTION locate_worker_token FROM PUBLIC;
GRANT EXECUTE ON FUNCTION locate_worker_token TO quarterdeck_api;
"""

# Every agent overwrites its row every few seconds: room on the page keeps that a heap-only update.
LIVENESS_STORAGE = """
ALTER TABLE instance_liveness SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
"""

HEARTBEATS = """
CREATE TYPE heartbeat_verdict AS (
    ordinal int, outcome text, instance_id uuid, organization_id uuid, generation int, edges text[],
    boot_id text, worker_id text, status text, phase text, model_id text, queue_depth int, slots_total int, slots_busy int,
    gpu_utilization double precision, agent_version text, report jsonb, system jsonb, gpus jsonb
);

CREATE FUNCTION judge_heartbeats(p_entries jsonb) RETURNS SETOF heartbeat_verdict
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT
        e.ordinal,
        CASE
            WHEN i.id IS NULL OR i.status IN ('terminated', 'archived') THEN 'not_found'
            WHEN t.id IS NULL OR t.revoked_at IS NOT NULL OR t.generation <> i.generation THEN 'unauthorized'
            WHEN e.model_id IS NOT NULL AND e.model_id IS DISTINCT FROM m.model_id THEN 'model_mismatch'
            ELSE 'ok'
        END,
        e.instance_id, i.organization_id, i.generation,
        array_remove(ARRAY[
            CASE WHEN c.rebooted THEN 'rebooted' END,
            CASE WHEN l.is_stale THEN 'came_back' END,
            CASE
                WHEN e.status IN ('ready', 'draining') AND (c.rebooted OR l.worker_status IS DISTINCT FROM e.status) THEN e.status
                WHEN e.phase IS NOT NULL AND (c.rebooted OR l.phase IS DISTINCT FROM e.phase) THEN 'phase'
            END
        ], NULL),
        coalesce(e.boot_id, l.boot_id), e.worker_id, e.status, e.phase, e.model_id, e.queue_depth, e.slots_total, e.slots_busy,
        e.gpu_utilization, e.agent_version, e.report, e.system, e.gpus
    FROM jsonb_to_recordset(p_entries) AS e (
        ordinal int, instance_id uuid, token_hash text,
        boot_id text, worker_id text, status text, phase text, model_id text, queue_depth int, slots_total int, slots_busy int,
        gpu_utilization double precision, agent_version text, report jsonb, system jsonb, gpus jsonb
    )
    LEFT JOIN instances i ON i.id = e.instance_id
    LEFT JOIN models m ON m.id = i.model_id
    LEFT JOIN worker_tokens t ON t.token_hash = e.token_hash AND t.instance_id = e.instance_id
    LEFT JOIN instance_liveness l ON l.instance_id = e.instance_id
    CROSS JOIN LATERAL (SELECT coalesce(e.boot_id <> l.boot_id, false) AS rebooted) AS c
$$;
REVOKE ALL ON FUNCTION judge_heartbeats FROM PUBLIC;

CREATE FUNCTION record_heartbeats(p_entries jsonb) RETURNS TABLE (ordinal int, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_verdicts heartbeat_verdict[];
BEGIN
    PERFORM 1 FROM instance_liveness l
        WHERE l.instance_id IN (
            SELECT t.instance_id FROM worker_tokens t
            WHERE t.token_hash IN (SELECT e ->> 'token_hash' FROM jsonb_array_elements(p_entries) AS e)
        )
        ORDER BY l.instance_id FOR UPDATE;
    SELECT array_agg(j) INTO v_verdicts FROM judge_heartbeats(p_entries) AS j;

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
REVOKE ALL ON FUNCTION record_heartbeats FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_heartbeats TO quarterdeck_api;

CREATE FUNCTION note_heartbeat_intake(p_longest_gap_s double precision) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE installation SET intake_seen_at = now(), intake_since = CASE
        WHEN intake_seen_at >= now() - make_interval(secs => p_longest_gap_s) THEN coalesce(intake_since, now())
        ELSE now() END
$$;
REVOKE ALL ON FUNCTION note_heartbeat_intake FROM PUBLIC;
GRANT EXECUTE ON FUNCTION note_heartbeat_intake TO quarterdeck_api;
"""

SAMPLE_TABLES = ("system_samples", "gpu_samples", "system_samples_minute", "gpu_samples_minute")

SAMPLES = """
CREATE FUNCTION roll_up_system_samples(p_until timestamptz, p_from timestamptz) RETURNS bigint
LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH averaged AS (
        INSERT INTO system_samples_minute (
            instance_id, organization_id, time, queue_depth, slots_busy, cpu_usage_pct, load1, mem_used_bytes, mem_total_bytes,
            disk_used_bytes, disk_total_bytes, net_rx_bps, net_tx_bps)
        SELECT instance_id, organization_id, date_trunc('minute', time), avg(queue_depth), avg(slots_busy), avg(cpu_usage_pct),
            avg(load1), round(avg(mem_used_bytes)), max(mem_total_bytes), round(avg(disk_used_bytes)), max(disk_total_bytes),
            round(avg(net_rx_bps)), round(avg(net_tx_bps))
        FROM system_samples WHERE time >= p_from AND time < p_until
        GROUP BY 1, 2, 3
        ON CONFLICT (instance_id, time) DO UPDATE SET
            queue_depth = excluded.queue_depth, slots_busy = excluded.slots_busy, cpu_usage_pct = excluded.cpu_usage_pct,
            load1 = excluded.load1, mem_used_bytes = excluded.mem_used_bytes, mem_total_bytes = excluded.mem_total_bytes,
            disk_used_bytes = excluded.disk_used_bytes, disk_total_bytes = excluded.disk_total_bytes,
            net_rx_bps = excluded.net_rx_bps, net_tx_bps = excluded.net_tx_bps
        RETURNING 1)
    SELECT count(*) FROM averaged
$$;

CREATE FUNCTION roll_up_gpu_samples(p_until timestamptz, p_from timestamptz) RETURNS bigint
LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH averaged AS (
        INSERT INTO gpu_samples_minute (
            instance_id, organization_id, time, gpu_index, gpu_utilization, vram_used_mb, vram_total_mb, temp_c, power_w,
            power_limit_w)
        SELECT instance_id, organization_id, date_trunc('minute', time), gpu_index, avg(gpu_utilization), avg(vram_used_mb),
            max(vram_total_mb), avg(temp_c), avg(power_w), max(power_limit_w)
        FROM gpu_samples WHERE time >= p_from AND time < p_until
        GROUP BY 1, 2, 3, 4
        ON CONFLICT (instance_id, gpu_index, time) DO UPDATE SET
            gpu_utilization = excluded.gpu_utilization, vram_used_mb = excluded.vram_used_mb,
            vram_total_mb = excluded.vram_total_mb, temp_c = excluded.temp_c, power_w = excluded.power_w,
            power_limit_w = excluded.power_limit_w
        RETURNING 1)
    SELECT count(*) FROM averaged
$$;

CREATE FUNCTION roll_up_samples(p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_until timestamptz := date_trunc('minute', p_now);
    v_oldest timestamptz := v_until - interval '70 minutes';  -- the longest that a raw row lives
    v_again interval := interval '2 minutes';  -- a heartbeat that committed late changes a minute already averaged
BEGIN
    RETURN roll_up_system_samples(v_until, greatest(v_oldest, (
            SELECT max(time) - v_again FROM system_samples_minute WHERE time >= v_oldest AND time < v_until)))
        + roll_up_gpu_samples(v_until, greatest(v_oldest, (
            SELECT max(time) - v_again FROM gpu_samples_minute WHERE time >= v_oldest AND time < v_until)));
END $$;

CREATE FUNCTION create_sample_partition(p_table text, p_from timestamptz, p_until timestamptz) RETURNS int
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_name text := p_table || to_char(p_from, '"_p"YYYYMMDDHH24MI');
BEGIN
    IF to_regclass(v_name) IS NOT NULL THEN
        RETURN 0;
    END IF;
    -- Attached rather than created in place: that would keep heartbeats out of the whole table meanwhile.
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', p_table || '_p_default');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS)', v_name, p_table);
    EXECUTE format('WITH moved AS (DELETE FROM %I WHERE time >= $1 AND time < $2 RETURNING *) INSERT INTO %I SELECT * FROM moved',
        p_table || '_p_default', v_name) USING p_from, p_until;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', p_table, v_name, p_from, p_until);
    RETURN 1;
END $$;

CREATE FUNCTION drop_sample_partitions(p_table text, p_width interval, p_before timestamptz) RETURNS int
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_name text;
    v_from timestamptz;
    v_dropped int := 0;
BEGIN
    FOR v_name, v_from IN
        SELECT c.relname, to_timestamp(right(c.relname, 12), 'YYYYMMDDHH24MI')
        FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
        WHERE h.inhparent = p_table::regclass AND c.relname ~ '_p[0-9]{12}$'
        ORDER BY 1
    LOOP
        CONTINUE WHEN v_from + p_width > p_before;
        IF p_table = 'system_samples' THEN
            PERFORM roll_up_system_samples(v_from + p_width, v_from);
        ELSIF p_table = 'gpu_samples' THEN
            PERFORM roll_up_gpu_samples(v_from + p_width, v_from);
        END IF;
        EXECUTE format('DROP TABLE %I', v_name);
        v_dropped := v_dropped + 1;
    END LOOP;
    RETURN v_dropped;
END $$;

CREATE FUNCTION ensure_sample_partitions(p_table text, p_now timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
    v_width interval;
    v_ahead interval;
    v_keep interval;
    v_from timestamptz;
    v_changes int := 0;
BEGIN
    SELECT width, ahead, keep INTO STRICT v_width, v_ahead, v_keep
    FROM (VALUES
        ('system_samples', interval '10 minutes', interval '30 minutes', interval '1 hour'),
        ('gpu_samples', interval '10 minutes', interval '30 minutes', interval '1 hour'),
        ('system_samples_minute', interval '1 day', interval '2 days', interval '30 days'),
        ('gpu_samples_minute', interval '1 day', interval '2 days', interval '30 days')
    ) AS policy (table_name, width, ahead, keep) WHERE table_name = p_table;
    PERFORM pg_advisory_xact_lock(hashtext('sample partitions'), hashtext(p_table));
    FOR v_from IN EXECUTE format(
        'SELECT generate_series(date_bin($1, $2, $3), $2 + $4, $1) UNION SELECT DISTINCT date_bin($1, time, $3) FROM %I ORDER BY 1',
        p_table || '_p_default') USING v_width, p_now, timestamptz '2000-01-01', v_ahead
    LOOP
        v_changes := v_changes + create_sample_partition(p_table, v_from, v_from + v_width);
    END LOOP;
    RETURN v_changes + drop_sample_partitions(p_table, v_width, p_now - v_keep);
END $$;

REVOKE ALL ON FUNCTION roll_up_system_samples, roll_up_gpu_samples, roll_up_samples, create_sample_partition,
    drop_sample_partitions, ensure_sample_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION roll_up_samples, ensure_sample_partitions TO quarterdeck_worker;
"""


def upgrade() -> None:
    op.execute(LOCATE)
    op.execute(LIVENESS_STORAGE)
    op.execute(HEARTBEATS)
    op.execute(SAMPLES)
    for table in SAMPLE_TABLES:
        op.execute(f"CREATE TABLE {table}_p_default PARTITION OF {table} DEFAULT")
        op.execute(f"SELECT ensure_sample_partitions('{table}', now())")
