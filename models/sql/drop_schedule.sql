-- Of a row whose schedule is gone in Temporal, unless somebody has asked for it again.
CREATE OR REPLACE FUNCTION drop_schedule(p_id uuid, p_revision bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM schedules WHERE id = p_id AND revision = p_revision AND state = 'removing';
    RETURN FOUND;
END $$;

GRANT EXECUTE ON FUNCTION drop_schedule TO quarterdeck_worker;
