CREATE OR REPLACE FUNCTION purge_inference_results() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM inference_results WHERE expires_at < now()
$$;

GRANT EXECUTE ON FUNCTION purge_inference_results TO quarterdeck_api;
