-- What is due is chosen once: a plan may ask a subquery for more of it again and again.
CREATE OR REPLACE FUNCTION claim_outbox(p_most int, p_lease_s double precision)
RETURNS TABLE (
    id uuid, organization_id uuid, kind text, workflow text, workflow_id text, payload jsonb, attempts int,
    provider_code text
) LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH due AS MATERIALIZED (
        SELECT d.id FROM outbox d
        WHERE d.delivered_at IS NULL AND d.next_attempt_at <= now()
        ORDER BY d.next_attempt_at, d.id
        LIMIT p_most FOR UPDATE SKIP LOCKED
    )
    UPDATE outbox o
    SET next_attempt_at = now() + make_interval(secs => p_lease_s), attempts = o.attempts + 1
    FROM due
    WHERE o.id = due.id
    RETURNING o.id, o.organization_id, o.kind::text, o.workflow, o.workflow_id, o.payload, o.attempts, o.provider_code
$$;

GRANT EXECUTE ON FUNCTION claim_outbox TO quarterdeck_worker;
