-- Temporal has this revision, or refuses it. False where the row says something else by now: the next pass does that.
CREATE OR REPLACE FUNCTION settle_schedule(p_id uuid, p_revision bigint, p_digest text, p_error_code text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE schedules SET state = CASE WHEN p_error_code IS NULL THEN 'applied' ELSE 'refused' END,
        applied_revision = CASE WHEN p_error_code IS NULL THEN p_revision ELSE applied_revision END,
        applied_digest = p_digest, error_code = p_error_code, applied_at = now()
    WHERE id = p_id AND revision = p_revision AND state <> 'removing';
    RETURN FOUND;
END $$;

GRANT EXECUTE ON FUNCTION settle_schedule TO quarterdeck_worker;
