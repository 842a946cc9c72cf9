-- Of a table whose rows have owners those that need one. Its name and its final states are parameters: every family brings its own.
CREATE OR REPLACE FUNCTION unfinished_rows(p_table text, p_final text[], p_older_than_s double precision)
RETURNS TABLE (resource_id uuid, organization_id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        SELECT r.id, r.organization_id FROM %I r
        WHERE r.status::text <> ALL ($1) AND r.created_at < now() - make_interval(secs => $2)
    $query$, p_table) USING p_final, p_older_than_s;
END $$;

GRANT EXECUTE ON FUNCTION unfinished_rows TO quarterdeck_worker;
