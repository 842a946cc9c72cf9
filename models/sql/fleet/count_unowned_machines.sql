-- A number, of whose machines not.
CREATE OR REPLACE FUNCTION count_unowned_machines() RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*)::int FROM unowned_machines
$$;

GRANT EXECUTE ON FUNCTION count_unowned_machines TO quarterdeck_api;
