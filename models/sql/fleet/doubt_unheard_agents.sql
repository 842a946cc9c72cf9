-- Nobody is taken for dead by this: an owner that is told looks at its machine, once for each time that we were away.
CREATE OR REPLACE FUNCTION doubt_unheard_agents(p_longest_gap_s double precision, p_most int) RETURNS SETOF uuid
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

GRANT EXECUTE ON FUNCTION doubt_unheard_agents TO quarterdeck_worker;
