-- Whoever is the first to say so raises it: true for them alone. One to a transaction, which ends with the lock of the organization's
-- stream. `p_is_logged`: its line in the action log is written by the caller.
CREATE OR REPLACE FUNCTION raise_alarm(
    p_code text, p_subject text, p_organization_id uuid, p_resource_kind text, p_resource_id uuid, p_operation_id uuid,
    p_message text, p_params jsonb, p_is_logged boolean DEFAULT false
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE alarm alarms%ROWTYPE;
BEGIN
    INSERT INTO alarms (id, organization_id, code, subject, resource_kind, resource_id, params)
        VALUES (gen_random_uuid(), p_organization_id, p_code, p_subject, p_resource_kind, p_resource_id, p_params)
        ON CONFLICT (code, subject) WHERE cleared_at IS NULL DO NOTHING RETURNING * INTO alarm;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF NOT p_is_logged THEN
        PERFORM log_alarm(alarm, 'ALARM', 'failed', p_operation_id, p_message);
    END IF;
    RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION raise_alarm TO quarterdeck_worker;
