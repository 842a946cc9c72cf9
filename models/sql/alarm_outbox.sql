-- Whoever is the first to say so raises the alarm: true for them alone. One message to a transaction, which ends with the lock of the
-- organization's stream: in batches, two dispatchers could wait for each other's.
CREATE OR REPLACE FUNCTION alarm_outbox(p_id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE message outbox%ROWTYPE; v_operation_id uuid;
BEGIN
    UPDATE outbox SET alarmed_at = now() WHERE id = p_id AND delivered_at IS NULL AND alarmed_at IS NULL
        RETURNING * INTO message;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT id INTO v_operation_id FROM operations WHERE id = (message.payload ->> 'operation_id')::uuid;
    RETURN raise_alarm('MESSAGE_NOT_DELIVERED', message.id::text, message.organization_id, message.resource_kind,
        message.resource_id, v_operation_id, 'a message to the owner cannot be delivered; it is tried again until it is',
        jsonb_build_object('message_id', message.id, 'kind', message.kind, 'cause', message.last_error_code,
            'failing_since', message.failing_since, 'attempts', message.attempts));
END $$;

GRANT EXECUTE ON FUNCTION alarm_outbox TO quarterdeck_worker;
