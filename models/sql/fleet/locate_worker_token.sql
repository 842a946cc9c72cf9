CREATE OR REPLACE FUNCTION locate_worker_token(p_instance_id uuid, p_token_hash text)
RETURNS TABLE (is_known boolean, organization_id uuid, token_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT i.id IS NOT NULL, t.organization_id, t.id
    FROM (SELECT p_instance_id AS id) AS asked
    LEFT JOIN instances i USING (id)
    LEFT JOIN worker_tokens t ON t.instance_id = asked.id AND p_token_hash IN (t.bootstrap_hash, t.token_hash)
$$;

GRANT EXECUTE ON FUNCTION locate_worker_token TO quarterdeck_api;
