-- No scopes are all that the role has.
CREATE OR REPLACE FUNCTION scopes_within(p_scopes jsonb, p_whole jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_whole = '[]' OR (p_scopes <> '[]' AND p_scopes <@ p_whole)
$$;
