-- Of all organizations: what one pass compares with Temporal's schedules.
CREATE OR REPLACE FUNCTION read_schedules()
RETURNS TABLE (
    id uuid, organization_id uuid, kind text, resource_kind text, resource_id uuid, cron text, interval_s int, time_zone text,
    overlap text, is_paused boolean, revision bigint, state text, applied_digest text
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.id, s.organization_id, s.kind, s.resource_kind, s.resource_id, s.cron, s.interval_s, s.time_zone,
        s.overlap::text, s.is_paused, s.revision, s.state::text, s.applied_digest
    FROM schedules s ORDER BY s.id
$$;

GRANT EXECUTE ON FUNCTION read_schedules TO quarterdeck_worker;
