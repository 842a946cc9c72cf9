CREATE OR REPLACE FUNCTION load_identities_of(p_ids uuid[], p_user_ids uuid[]) RETURNS SETOF live_identities
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT * FROM live_identities WHERE id = ANY (p_ids)
    UNION
    SELECT * FROM live_identities WHERE user_id = ANY (p_user_ids)
$$;

GRANT EXECUTE ON FUNCTION load_identities_of TO quarterdeck_api;
