-- What one run of a schedule asks of the owner of its resource: an operation, the message to the owner, what people see of it. The kind
-- of operation is the row's: a worker can order nothing that nobody asked for. Answers with why nothing was ordered, or NULL.
CREATE OR REPLACE FUNCTION order_scheduled(
    p_schedule_id uuid, p_operation_id uuid, p_workflow text, p_workflow_id text, p_id_field text, p_open text[], p_waiting_on text
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE s schedules%ROWTYPE; v_log_id uuid := gen_random_uuid();
BEGIN
    SELECT * INTO s FROM schedules WHERE id = p_schedule_id FOR UPDATE;
    IF NOT FOUND OR s.state = 'removing' THEN
        RETURN 'removed';
    END IF;
    IF s.is_paused THEN
        RETURN 'paused';
    END IF;
    IF EXISTS (SELECT FROM operations WHERE id = p_operation_id) THEN
        RETURN NULL;  -- by an attempt before this one
    END IF;
    IF EXISTS (
        SELECT FROM operations o
        WHERE o.resource_id = s.resource_id AND o.kind = s.operation_kind AND o.status = ANY (p_open)
    ) THEN
        RETURN 'under way';
    END IF;
    INSERT INTO operations (
        id, organization_id, kind, status, resource_kind, resource_id, workflow_id, progress_percent, waiting_on,
        waiting_since, created_at
    ) VALUES (
        p_operation_id, s.organization_id, s.operation_kind, 'pending', s.resource_kind, s.resource_id, p_workflow_id, 0,
        p_waiting_on, now(), now()
    );
    INSERT INTO outbox (
        id, organization_id, kind, workflow, workflow_id, resource_kind, resource_id, payload, created_at, next_attempt_at,
        attempts
    ) VALUES (
        gen_random_uuid(), s.organization_id, 'command', p_workflow, p_workflow_id, s.resource_kind, s.resource_id,
        jsonb_build_object(p_id_field, s.resource_id, 'operation_id', p_operation_id), now(), now(), 0
    );
    INSERT INTO action_logs (
        id, organization_id, action_type, component, status, resource_kind, resource_id, operation_id, details, duration_ms,
        created_at, completed_at
    ) VALUES (
        v_log_id, s.organization_id, 'SCHEDULED', 'orchestrator', 'success', s.resource_kind, s.resource_id, p_operation_id,
        jsonb_build_object('schedule', s.kind), 0, now(), now()
    );
    PERFORM append_event('organization/' || s.organization_id, s.organization_id, 'action_log.created',
        jsonb_build_object('ids', jsonb_build_array(v_log_id), s.resource_kind || '_ids', jsonb_build_array(s.resource_id)));
    RETURN NULL;
END $$;

GRANT EXECUTE ON FUNCTION order_scheduled TO quarterdeck_worker;
