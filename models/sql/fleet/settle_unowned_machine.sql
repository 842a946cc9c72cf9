-- It is kept no longer. What an operator wanted to end and is gone stays in the action log.
CREATE OR REPLACE FUNCTION settle_unowned_machine(p_queue text, p_id text, p_ended boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE machine unowned_machines%ROWTYPE;
BEGIN
    DELETE FROM unowned_machines WHERE provider_queue = p_queue AND provider_instance_id = p_id RETURNING * INTO machine;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM clear_alarm('MACHINE_WITHOUT_OWNER', p_queue || '/' || p_id);
    IF p_ended THEN
        PERFORM log_unowned_machine(machine, 'UNOWNED_MACHINE_ENDED', 'success', NULL);
    END IF;
END $$;

GRANT EXECUTE ON FUNCTION settle_unowned_machine TO quarterdeck_worker;
