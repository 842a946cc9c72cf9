-- All that were raised of the resource itself; how many those were.
CREATE OR REPLACE FUNCTION clear_alarms_of(p_resource_id uuid) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*)::int FROM alarms WHERE subject = p_resource_id::text AND cleared_at IS NULL AND clear_alarm(code, subject)
$$;

GRANT EXECUTE ON FUNCTION clear_alarms_of TO quarterdeck_worker;
