"""A message that cannot be delivered raises an alarm, once: on its row, in the action log, and in the count that `/health` shows."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE outbox ADD COLUMN failing_since timestamptz, ADD COLUMN alarmed_at timestamptz;
CREATE INDEX ix_outbox_alarmed ON outbox (alarmed_at) WHERE delivered_at IS NULL AND alarmed_at IS NOT NULL;
"""

POSTPONE = """
DROP FUNCTION postpone_outbox(uuid, text, double precision);
-- True for a message whose alarm is due. The default is for a worker from before, which raises none.
CREATE FUNCTION postpone_outbox(
    p_id uuid, p_error_code text, p_delay_s double precision, p_alarm_after_s double precision DEFAULT 'infinity'
) RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE outbox SET next_attempt_at = now() + make_interval(secs => p_delay_s), last_error_code = p_error_code,
        failing_since = coalesce(failing_since, now())
    WHERE id = p_id AND delivered_at IS NULL
    RETURNING alarmed_at IS NULL AND extract(epoch FROM now() - failing_since) >= p_alarm_after_s
$$;

-- Whoever is the first to say so raises the alarm: true for them alone. One message to a transaction, which ends with the lock of the
-- organization's stream: in batches, two dispatchers could wait for each other's.
CREATE FUNCTION alarm_outbox(p_id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE message outbox%ROWTYPE; v_instance_id uuid; v_operation_id uuid; v_log_id uuid := gen_random_uuid();
BEGIN
    UPDATE outbox SET alarmed_at = now() WHERE id = p_id AND delivered_at IS NULL AND alarmed_at IS NULL
        RETURNING * INTO message;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT id INTO v_instance_id FROM instances WHERE id = (message.payload ->> 'instance_id')::uuid;
    SELECT id INTO v_operation_id FROM operations WHERE id = (message.payload ->> 'operation_id')::uuid;
    INSERT INTO action_logs (
        id, organization_id, action_type, component, status, instance_id, operation_id, error_code, error_message, details,
        duration_ms, created_at, completed_at
    ) VALUES (
        v_log_id, message.organization_id, 'ALARM', 'orchestrator', 'failed', v_instance_id, v_operation_id,
        'MESSAGE_NOT_DELIVERED', 'a message to the owner cannot be delivered; it is tried again until it is',
        jsonb_build_object('message_id', message.id, 'kind', message.kind, 'cause', message.last_error_code,
            'failing_since', message.failing_since, 'attempts', message.attempts),
        0, now(), now()
    );
    PERFORM append_event('organization/' || message.organization_id, message.organization_id, 'action_log.created',
        jsonb_build_object('ids', jsonb_build_array(v_log_id), 'instance_ids',
            CASE WHEN v_instance_id IS NULL THEN '[]' ELSE jsonb_build_array(v_instance_id) END));
    RETURN true;
END $$;
"""

COUNT = """
-- Messages with an alarm, and those that have been due for as long and that nobody took up. A number, of whose messages not; both
-- halves walk an index, and no further than people would count.
CREATE FUNCTION count_stuck_messages(p_overdue_s double precision, p_most int) RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*)::int FROM (
        (SELECT id FROM outbox WHERE delivered_at IS NULL AND alarmed_at IS NOT NULL LIMIT p_most)
        UNION
        (SELECT id FROM outbox WHERE delivered_at IS NULL AND next_attempt_at < now() - make_interval(secs => p_overdue_s)
            LIMIT p_most)
    ) stuck
$$;
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(POSTPONE)
    op.execute(COUNT)
    for signature, role in (
        ("postpone_outbox(uuid, text, double precision, double precision)", "quarterdeck_worker"),
        ("alarm_outbox(uuid)", "quarterdeck_worker"),
        ("count_stuck_messages(double precision, int)", "quarterdeck_api"),
    ):
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")
