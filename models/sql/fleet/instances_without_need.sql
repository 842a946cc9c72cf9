-- Of instances that have an owner those that need none: there is no such row, or it is over for some time.
CREATE OR REPLACE FUNCTION instances_without_need(p_ids uuid[], p_settled_s double precision) RETURNS TABLE (instance_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT owned.id FROM unnest(p_ids) owned(id) LEFT JOIN instances i ON i.id = owned.id
    WHERE i.id IS NULL OR (i.status IN ('terminated', 'archived')
        AND coalesce(i.terminated_at, i.created_at) < now() - make_interval(secs => p_settled_s))
$$;

GRANT EXECUTE ON FUNCTION instances_without_need TO quarterdeck_worker;
