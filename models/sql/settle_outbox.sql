-- A message that stays unsettled is delivered once more after its lease, which its owner does not mind. Alarms end with the delivery: in
-- the order of organizations, for each locks a stream until the transaction ends.
CREATE OR REPLACE FUNCTION settle_outbox(p_ids uuid[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE alarmed record;
BEGIN
    FOR alarmed IN
        WITH settled AS (
            UPDATE outbox SET delivered_at = now(), last_error_code = NULL WHERE id IN (
                SELECT d.id FROM outbox d WHERE d.id = ANY (p_ids) AND d.delivered_at IS NULL FOR UPDATE SKIP LOCKED)
            RETURNING id, organization_id, alarmed_at
        ) SELECT id FROM settled WHERE alarmed_at IS NOT NULL ORDER BY organization_id, id
    LOOP
        PERFORM clear_alarm('MESSAGE_NOT_DELIVERED', alarmed.id::text);
    END LOOP;
END $$;

GRANT EXECUTE ON FUNCTION settle_outbox TO quarterdeck_api, quarterdeck_worker;
