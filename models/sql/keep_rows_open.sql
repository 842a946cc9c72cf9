-- Of resources that have an owner those that are not over, none of which can be over before the caller's transaction is: whoever ends one
-- changes its row, and waits for that. What is asked of them in this transaction their owners therefore see before they end.
CREATE OR REPLACE FUNCTION keep_rows_open(p_table text, p_final text[], p_ids uuid[]) RETURNS TABLE (resource_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        SELECT r.id FROM %I r WHERE r.id = ANY ($1) AND r.status::text <> ALL ($2) ORDER BY r.id FOR SHARE
    $query$, p_table) USING p_ids, p_final;
END $$;

GRANT EXECUTE ON FUNCTION keep_rows_open TO quarterdeck_worker;
