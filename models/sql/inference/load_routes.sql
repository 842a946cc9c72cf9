-- For every organization: sharing instances between organizations is not there yet, and will be added here.
CREATE OR REPLACE FUNCTION load_routes(p_ids uuid[]) RETURNS TABLE (
    instance_id uuid, organization_id uuid, model_id text, endpoint_host text, endpoint_port int, generation int,
    queue_depth int, silent_s double precision, last_seen_at timestamptz, capabilities jsonb
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF p_ids IS NULL THEN
        RETURN QUERY SELECT r.instance_id, r.organization_id, r.model_id, r.endpoint_host, r.endpoint_port, r.generation,
            r.queue_depth, extract(epoch FROM now() - r.last_seen_at)::double precision, r.last_seen_at, r.capabilities
            FROM routable_instances r WHERE r.last_seen_at IS NOT NULL;
    ELSE
        RETURN QUERY SELECT r.instance_id, r.organization_id, r.model_id, r.endpoint_host, r.endpoint_port, r.generation,
            r.queue_depth, extract(epoch FROM now() - r.last_seen_at)::double precision, r.last_seen_at, r.capabilities
            FROM routable_instances r WHERE r.last_seen_at IS NOT NULL AND r.instance_id = ANY (p_ids);
    END IF;
END $$;

GRANT EXECUTE ON FUNCTION load_routes TO quarterdeck_api;
