"""Machines that carry our tag and that nobody looks after: found by comparing lists with rows, kept until that is over."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE unowned_machines (
    provider_queue text NOT NULL,
    provider_instance_id text NOT NULL,
    reason varchar(40) NOT NULL CONSTRAINT unownedreason CHECK (reason IN ('no_row', 'row_finished', 'surplus')),
    zone text NOT NULL,
    instance_type text NOT NULL,
    name text NOT NULL,
    instance_id uuid,
    price_eur_per_hour numeric(18, 6),
    created_at timestamptz NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now(),
    end_requested_at timestamptz,
    PRIMARY KEY (provider_queue, provider_instance_id)
);
CREATE TABLE machine_listings (
    provider_queue text PRIMARY KEY,
    completed_at timestamptz,
    machines int NOT NULL,
    failures int NOT NULL,
    failing_since timestamptz,
    error_code text
);
"""

JUDGE = """
-- Of listed machines those that no owner looks after. An instance that is being removed looks for everything that bears its tag, and
-- one that has no machine on record yet may be about to put any of them there: theirs are not among them.
CREATE FUNCTION judge_machines(p_machines jsonb) RETURNS TABLE (provider_instance_id text, reason text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT m.provider_instance_id, CASE
        WHEN i.id IS NULL THEN 'no_row'
        WHEN i.status IN ('terminated', 'archived') THEN 'row_finished'
        ELSE 'surplus' END
    FROM jsonb_to_recordset(p_machines) AS m(provider_instance_id text, instance_id uuid)
        LEFT JOIN instances i ON i.id = m.instance_id
    WHERE (i.id IS NULL OR i.status IN ('terminated', 'archived')
            OR (i.status NOT IN ('draining', 'terminating') AND i.provider_instance_id <> m.provider_instance_id))
        AND NOT EXISTS (SELECT FROM billing_segments b WHERE b.instance_id = i.id
            AND b.provider_resource_id = m.provider_instance_id AND b.closed_at IS NULL)
$$;
"""

REPORT = """
-- For people: in the action log of the instance's organization; without an instance in that of the installation, the first there was.
CREATE FUNCTION log_unowned_machine(p_machine unowned_machines, p_action_type text, p_status text, p_message text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v_instance_id uuid; v_organization_id uuid; v_log_id uuid := gen_random_uuid();
BEGIN
    SELECT id, organization_id INTO v_instance_id, v_organization_id FROM instances WHERE id = p_machine.instance_id;
    IF NOT FOUND THEN
        SELECT id INTO v_organization_id FROM organizations WHERE NOT is_personal ORDER BY created_at, id LIMIT 1;
    END IF;
    IF v_organization_id IS NULL THEN
        RETURN;
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
END $$;

-- Whoever is the first to say so raises the alarm: true for them alone. One machine to a transaction, for the organization's stream is
-- locked until it ends.
CREATE FUNCTION report_unowned_machine(p_queue text, p_reason text, p_machine jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE machine unowned_machines%ROWTYPE;
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
    PERFORM log_unowned_machine(machine, 'ALARM', 'failed',
        'a machine of this installation belongs to nobody; it is billed until somebody ends it');
    RETURN true;
END $$;

-- It is kept no longer. What an operator wanted to end and is gone stays in the action log.
CREATE FUNCTION settle_unowned_machine(p_queue text, p_id text, p_ended boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE machine unowned_machines%ROWTYPE;
BEGIN
    DELETE FROM unowned_machines WHERE provider_queue = p_queue AND provider_instance_id = p_id RETURNING * INTO machine;
    IF FOUND AND p_ended THEN
        PERFORM log_unowned_machine(machine, 'UNOWNED_MACHINE_ENDED', 'success', NULL);
    END IF;
END $$;
"""

COUNT = """
-- A number, of whose machines not.
CREATE FUNCTION count_unowned_machines() RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*)::int FROM unowned_machines
$$;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(JUDGE)
    op.execute(REPORT)
    op.execute(COUNT)
