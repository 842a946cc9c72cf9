-- For people, and in which organization: in the action log of the instance's organization; without an instance in that of the installation, the first there was.
CREATE OR REPLACE FUNCTION log_unowned_machine(p_machine unowned_machines, p_action_type text, p_status text, p_message text)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v_instance_id uuid; v_organization_id uuid; v_log_id uuid := gen_random_uuid();
BEGIN
    SELECT id, organization_id INTO v_instance_id, v_organization_id FROM instances WHERE id = p_machine.instance_id;
    IF NOT FOUND THEN
        SELECT id INTO v_organization_id FROM organizations WHERE NOT is_personal ORDER BY created_at, id LIMIT 1;
    END IF;
    IF v_organization_id IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO action_logs (
        id, organization_id, action_type, component, status, instance_id, error_code, error_message, details,
        duration_ms, created_at, completed_at
    ) VALUES (
        v_log_id, v_organization_id, p_action_type, 'orchestrator', p_status, v_instance_id,
        CASE WHEN p_status = 'failed' THEN 'MACHINE_WITHOUT_OWNER' END, p_message,
        jsonb_build_object('provider_instance_id', p_machine.provider_instance_id, 'provider', p_machine.provider_queue,
            'zone', p_machine.zone, 'instance_type', p_machine.instance_type, 'reason', p_machine.reason,
            'tagged_instance_id', p_machine.instance_id),
        0, now(), now()
    );
    PERFORM append_event('organization/' || v_organization_id, v_organization_id, 'action_log.created',
        jsonb_build_object('ids', jsonb_build_array(v_log_id), 'instance_ids',
            CASE WHEN v_instance_id IS NULL THEN '[]' ELSE jsonb_build_array(v_instance_id) END));
    RETURN v_organization_id;
END $$;
