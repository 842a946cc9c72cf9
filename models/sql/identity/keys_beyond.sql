-- The keys below this one that are more than it is, and what they may be. Where one is not, nothing below it is.
CREATE OR REPLACE FUNCTION keys_beyond(p_key_id uuid)
RETURNS TABLE (id uuid, depth int, revoked_at timestamptz, expires_at timestamptz, scopes jsonb)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH RECURSIVE narrowed AS (
        SELECT k.id, 0 AS depth, k.revoked_at, k.expires_at, k.scopes FROM api_keys k WHERE k.id = p_key_id
        UNION ALL
        SELECT k.id, n.depth + 1,
            CASE WHEN n.revoked_at IS NOT NULL THEN n.revoked_at WHEN c.scopes IS NULL THEN now() END,
            least(k.expires_at, n.expires_at),
            coalesce(c.scopes, k.scopes)
        FROM narrowed n
        JOIN api_keys k ON k.parent_id = n.id
        CROSS JOIN LATERAL (SELECT common_scopes(k.scopes, n.scopes) AS scopes) c
        WHERE k.revoked_at IS NULL AND (
            n.revoked_at IS NOT NULL
            OR coalesce(k.expires_at, 'infinity') > coalesce(n.expires_at, 'infinity')
            OR NOT scopes_within(k.scopes, n.scopes))
    )
    SELECT * FROM narrowed WHERE depth > 0
$$;
