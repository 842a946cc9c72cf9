-- Which of these objects a row names, whosever.
CREATE OR REPLACE FUNCTION known_blob_objects(p_ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT object_id FROM blobs WHERE object_id = ANY (p_ids)
$$;

GRANT EXECUTE ON FUNCTION known_blob_objects TO quarterdeck_worker;
