CREATE OR REPLACE FUNCTION recent_sign_ins(p_days integer, p_ipv4_bits integer, p_ipv6_bits integer, p_networks_per_user integer,
    p_most integer) RETURNS TABLE (user_id uuid, email text, username text, network text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH written AS (
        SELECT s.user_id, s.created_at,
            CASE WHEN pg_input_is_valid(s.ip_address, 'inet') THEN s.ip_address::inet END AS address
        FROM user_sessions s
        WHERE s.created_at > now() - make_interval(days => p_days)
    ), seen AS (
        SELECT w.user_id, w.created_at,
            CASE WHEN w.address <<= inet '::ffff:0.0.0.0/96' THEN inet '0.0.0.0' + (w.address - inet '::ffff:0.0.0.0')
                ELSE w.address END AS address
        FROM written w
        WHERE w.address IS NOT NULL
    ), pairs AS (
        SELECT s.user_id, max(s.created_at) AS last_at,
            network(set_masklen(s.address, CASE family(s.address) WHEN 4 THEN p_ipv4_bits ELSE p_ipv6_bits END)) AS network
        FROM seen s
        GROUP BY 1, 3
    ), ranked AS (
        SELECT p.*, row_number() OVER (PARTITION BY p.user_id ORDER BY p.last_at DESC, p.network) AS nth FROM pairs p
    )
    SELECT r.user_id, u.email, u.username, r.network::text
    FROM ranked r JOIN users u ON u.id = r.user_id
    WHERE r.nth <= p_networks_per_user
    ORDER BY r.last_at DESC, r.user_id, r.network
    LIMIT p_most
$$;

GRANT EXECUTE ON FUNCTION recent_sign_ins TO quarterdeck_api;
