-- 10,000 instances of the administrator's organization, made over a year: one in ten failed, three in ten terminated, the rest ready.
-- Each has a machine, an agent that reported, a volume, and a bill of two segments (the second one open while it runs).
WITH made AS (
    INSERT INTO instances (
        id, organization_id, provider_id, zone_id, instance_type_id, model_id, status, desired_status, version, generation,
        boot_count, completed_steps, provider_code, zone_code, instance_type_code, price_eur_per_hour, price_source,
        billing_increment_s, billing_minimum_s, on_unavailable, provider_instance_id, endpoint_host, endpoint_port,
        created_at, boot_started_at, ready_at, failed_at, terminated_at, is_archived, deleted_by_provider, heal_attempts
    )
    SELECT
        gen_random_uuid(), o.id, p.id, z.id, t.id, m.id, s.status,
        CASE s.status WHEN 'terminated' THEN 'terminated' ELSE 'ready' END, 7, 1, 1,
        '["PROVIDER_CREATE", "PROVIDER_START", "PROVIDER_GET_IP", "WORKER_REGISTERED"]', p.code, z.code, t.code,
        (n % 97) / 10.0 + 0.5, 'catalog', 1, 0, 'restart_agent', 'machine-' || n, '127.0.0.1', 20000 + n % 30000,
        s.made, s.made + interval '40 seconds', s.made + interval '90 seconds',
        CASE s.status WHEN 'failed' THEN s.made + interval '1 hour' END,
        CASE s.status WHEN 'terminated' THEN s.made + interval '9 hours' END, false, false, 0
    FROM generate_series(1, 10000) AS n
    CROSS JOIN LATERAL (
        SELECT CASE n % 10 WHEN 0 THEN 'failed' WHEN 1 THEN 'terminated' WHEN 2 THEN 'terminated' WHEN 3 THEN 'terminated'
            ELSE 'ready' END AS status, now() - n * interval '50 minutes' AS made
    ) s
    CROSS JOIN (SELECT organization_id AS id FROM api_keys LIMIT 1) o
    JOIN providers p ON p.code = 'mock'
    JOIN models m ON m.code = 'mock-echo-model'
    JOIN LATERAL (SELECT * FROM zones WHERE provider_id = p.id ORDER BY code LIMIT 1) z ON true
    JOIN LATERAL (SELECT * FROM instance_types WHERE provider_id = p.id ORDER BY code LIMIT 1) t ON true
    RETURNING id, organization_id, status, price_eur_per_hour, created_at, terminated_at
), agents AS (
    INSERT INTO instance_liveness (
        instance_id, organization_id, generation, boot_id, worker_id, worker_status, phase, worker_model_id, queue_depth,
        slots_total, slots_busy, gpu_utilization, agent_version, report, registered_at, last_heartbeat_at, is_stale
    )
    SELECT id, organization_id, 1, 'boot', 'worker', 'ready', 'serving', 'mock/echo', 0, 4, 1, 12.5, 'simcloud-1',
        '{"slots": 4, "agent_version": "simcloud-1", "gpus": [{"index": 0, "memory_total_mb": 24576, "memory_used_mb": 9000}]}',
        created_at + interval '1 minute', now(), false
    FROM made
), volumes AS (
    INSERT INTO instance_volumes (
        id, organization_id, instance_id, provider_volume_id, name, volume_type, size_gb, is_boot, delete_on_terminate,
        status, created_at, attached_at
    )
    SELECT gen_random_uuid(), organization_id, id, 'volume-' || id, 'boot', 'ssd', 20, true, true, 'attached',
        created_at, created_at
    FROM made
)
INSERT INTO billing_segments (
    id, organization_id, instance_id, provider_resource_id, usage_kind, price_eur_per_hour, price_source,
    billing_increment_s, billing_minimum_s, opened_at, closed_at
)
SELECT gen_random_uuid(), m.organization_id, m.id, kind || m.id, kind,
    CASE kind WHEN 'compute' THEN m.price_eur_per_hour ELSE 0.00118 END, 'catalog', 1, 0,
    m.created_at + interval '30 seconds', m.terminated_at
FROM made m CROSS JOIN (VALUES ('compute'), ('volume')) AS kinds (kind);
