-- Silence counts only where somebody listened: after an outage of the API or of this database every agent gets its full time anew.
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

GRANT EXECUTE ON FUNCTION mark_stale_instances TO quarterdeck_worker;
