CREATE OR REPLACE FUNCTION judge_heartbeats(p_entries jsonb) RETURNS SETOF heartbeat_verdict
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
