-- NULL where nothing is common: an empty list would be everything.
CREATE OR REPLACE FUNCTION common_scopes(p_scopes jsonb, p_whole jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_whole = '[]' THEN p_scopes
        WHEN p_scopes = '[]' THEN p_whole
        ELSE (SELECT jsonb_agg(s.scope ORDER BY s.place)
            FROM jsonb_array_elements(p_scopes) WITH ORDINALITY AS s (scope, place) WHERE p_whole @> s.scope)
    END
$$;
