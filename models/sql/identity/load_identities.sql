CREATE OR REPLACE FUNCTION load_identities() RETURNS SETOF live_identities
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$ SELECT * FROM live_identities $$;

GRANT EXECUTE ON FUNCTION load_identities TO quarterdeck_api;
