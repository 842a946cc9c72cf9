-- After a power cut rows still say `ready`. A heartbeat takes the word of this back, and none comes from the dead.
CREATE OR REPLACE FUNCTION report_dead_agents(p_instances uuid[]) RETURNS SETOF uuid
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
