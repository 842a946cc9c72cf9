-- How many are open, by code; of whom not.
CREATE OR REPLACE FUNCTION count_alarms() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(jsonb_object_agg(code, open), '{}')
    FROM (SELECT code, count(*) AS open FROM alarms WHERE cleared_at IS NULL GROUP BY code) by_code
$$;

GRANT EXECUTE ON FUNCTION count_alarms TO quarterdeck_api;
