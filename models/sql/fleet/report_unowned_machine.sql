-- Whoever is the first to say so raises the alarm: true for them alone. One machine to a transaction, for the organization's stream is
-- locked until it ends.
CREATE OR REPLACE FUNCTION report_unowned_machine(p_queue text, p_reason text, p_machine jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE machine unowned_machines%ROWTYPE; v_organization_id uuid;
BEGIN
    INSERT INTO unowned_machines (
        provider_queue, provider_instance_id, reason, zone, instance_type, name, instance_id, price_eur_per_hour, created_at
    ) VALUES (
        p_queue, p_machine ->> 'provider_instance_id', p_reason, p_machine ->> 'zone', p_machine ->> 'instance_type',
        p_machine ->> 'name', (p_machine ->> 'instance_id')::uuid, (p_machine ->> 'price_eur_per_hour')::numeric,
        (p_machine ->> 'created_at')::timestamptz
    ) ON CONFLICT DO NOTHING RETURNING * INTO machine;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    v_organization_id := log_unowned_machine(machine, 'ALARM', 'failed',
        'a machine of this installation belongs to nobody; it is billed until somebody ends it');
    IF v_organization_id IS NOT NULL THEN
        PERFORM raise_alarm('MACHINE_WITHOUT_OWNER', p_queue || '/' || machine.provider_instance_id, v_organization_id,
            (SELECT 'instance' FROM instances WHERE id = machine.instance_id), (SELECT id FROM instances WHERE id = machine.instance_id),
            NULL, NULL, jsonb_build_object('provider_instance_id', machine.provider_instance_id, 'provider', p_queue,
                'zone', machine.zone), true);
    END IF;
    RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION report_unowned_machine TO quarterdeck_worker;
