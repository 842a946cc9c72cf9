CREATE OR REPLACE FUNCTION unfinished_instances(p_older_than_s double precision)
RETURNS TABLE (instance_id uuid, organization_id uuid, provider_code text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT id, organization_id, provider_code FROM instances
    WHERE status NOT IN ('terminated', 'archived') AND create_attempted_at IS NOT NULL
        AND created_at < now() - make_interval(secs => p_older_than_s)
    UNION ALL
    SELECT i.id, i.organization_id, i.provider_code FROM instances i
    WHERE i.status = 'provisioning' AND i.create_attempted_at IS NULL AND i.instance_type_id IS NOT NULL
        AND i.created_at < now() - make_interval(secs => p_older_than_s)
$$;

GRANT EXECUTE ON FUNCTION unfinished_instances TO quarterdeck_worker;
