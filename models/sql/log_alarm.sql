-- For people, in the action log of the alarm's organization.
CREATE OR REPLACE FUNCTION log_alarm(p_alarm alarms, p_action_type text, p_status text, p_operation_id uuid, p_message text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v_log_id uuid := gen_random_uuid(); v_about jsonb := '{}';
BEGIN
    INSERT INTO action_logs (
        id, organization_id, action_type, component, status, resource_kind, resource_id, operation_id, error_code,
        error_message, details, duration_ms, created_at, completed_at
    ) VALUES (
        v_log_id, p_alarm.organization_id, p_action_type, 'orchestrator', p_status, p_alarm.resource_kind,
        p_alarm.resource_id, p_operation_id, p_alarm.code, p_message, p_alarm.params, 0, now(), now()
    );
    IF p_alarm.resource_kind IS NOT NULL THEN
        v_about := jsonb_build_object(p_alarm.resource_kind || '_ids', jsonb_build_array(p_alarm.resource_id));
    END IF;
    PERFORM append_event('organization/' || p_alarm.organization_id, p_alarm.organization_id, 'action_log.created',
        jsonb_build_object('ids', jsonb_build_array(v_log_id)) || v_about);
END $$;
