-- A note of when a key was used waits for nobody who is ending it, else the two could wait for each other.
CREATE OR REPLACE FUNCTION touch_identities(p_session_ids uuid[], p_session_times timestamptz[],
    p_key_ids uuid[], p_key_times timestamptz[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE user_sessions s SET last_used_at = free.used_at
    FROM (
        SELECT f.id, t.used_at FROM user_sessions f JOIN unnest(p_session_ids, p_session_times) AS t(id, used_at) USING (id)
        WHERE f.last_used_at < t.used_at FOR NO KEY UPDATE OF f SKIP LOCKED
    ) free
    WHERE s.id = free.id;
    UPDATE api_keys k SET last_used_at = free.used_at
    FROM (
        SELECT f.id, t.used_at FROM api_keys f JOIN unnest(p_key_ids, p_key_times) AS t(id, used_at) USING (id)
        WHERE f.last_used_at IS NULL OR f.last_used_at < t.used_at FOR NO KEY UPDATE OF f SKIP LOCKED
    ) free
    WHERE k.id = free.id;
$$;

GRANT EXECUTE ON FUNCTION touch_identities TO quarterdeck_api;
