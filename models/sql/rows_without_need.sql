-- Of resources that have an owner those that need none: there is no such row in the table, or it is over for some time.
CREATE OR REPLACE FUNCTION rows_without_need(p_table text, p_final text[], p_ids uuid[], p_settled_s double precision)
RETURNS TABLE (resource_id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        SELECT owned.id FROM unnest($1) owned(id) LEFT JOIN %I r ON r.id = owned.id
        WHERE r.id IS NULL OR (r.status::text = ANY ($2)
            AND coalesce(r.ended_at, r.created_at) < now() - make_interval(secs => $3))
    $query$, p_table) USING p_ids, p_final, p_settled_s;
END $$;

GRANT EXECUTE ON FUNCTION rows_without_need TO quarterdeck_worker;
