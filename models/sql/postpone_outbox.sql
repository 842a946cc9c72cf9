-- True for a message whose alarm is due. The default is for a worker from before, which raises none.
-- A message that stays unsettled is delivered once more after its lease, which its owner does not mind.
CREATE OR REPLACE FUNCTION postpone_outbox(
    p_id uuid, p_error_code text, p_delay_s double precision, p_alarm_after_s double precision DEFAULT 'infinity'
) RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE outbox SET next_attempt_at = now() + make_interval(secs => p_delay_s), last_error_code = p_error_code,
        failing_since = coalesce(failing_since, now())
    WHERE id IN (SELECT d.id FROM outbox d WHERE d.id = p_id AND d.delivered_at IS NULL FOR UPDATE SKIP LOCKED)
    RETURNING alarmed_at IS NULL AND extract(epoch FROM now() - failing_since) >= p_alarm_after_s
$$;

GRANT EXECUTE ON FUNCTION postpone_outbox TO quarterdeck_worker;
