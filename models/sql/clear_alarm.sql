-- It is over: true for whoever says so first. Again, and of one that was never raised, is no matter.
CREATE OR REPLACE FUNCTION clear_alarm(p_code text, p_subject text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE alarm alarms%ROWTYPE;
BEGIN
    UPDATE alarms SET cleared_at = now() WHERE code = p_code AND subject = p_subject AND cleared_at IS NULL
        RETURNING * INTO alarm;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM log_alarm(alarm, 'ALARM_CLEARED', 'success', NULL, NULL);
    RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION clear_alarm TO quarterdeck_worker;
