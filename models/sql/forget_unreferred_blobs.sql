-- Rows that nothing has needed for the grace time go; whoever called removes their objects. A row that is being referred to is locked,
-- and has been touched when the lock is free: neither is taken. They are chosen once: a plan may ask a subquery for more of them again
-- and again.
CREATE OR REPLACE FUNCTION forget_unreferred_blobs(p_grace_s double precision, p_most int)
RETURNS TABLE (blob_organization_id uuid, blob_object_id uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH unneeded AS MATERIALIZED (
        SELECT c.organization_id, c.sha256 FROM blobs c
        WHERE c.touched_at < now() - make_interval(secs => p_grace_s)
            AND NOT EXISTS (SELECT FROM blob_references r WHERE r.organization_id = c.organization_id AND r.sha256 = c.sha256)
        LIMIT p_most FOR UPDATE SKIP LOCKED
    )
    DELETE FROM blobs b USING unneeded
    WHERE b.organization_id = unneeded.organization_id AND b.sha256 = unneeded.sha256
    RETURNING b.organization_id, b.object_id
$$;

GRANT EXECUTE ON FUNCTION forget_unreferred_blobs TO quarterdeck_worker;
