CREATE OR REPLACE FUNCTION segment_cost_eur(
    opened_at timestamptz, until timestamptz, price_eur_per_hour numeric, increment_s int, minimum_s int
) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- Whole seconds are exact in double precision, and twice as fast as in numeric; the amount is numeric throughout.
    SELECT round(
        price_eur_per_hour
        * (ceil(greatest(ceil(date_part('epoch', until - opened_at)), minimum_s, 0) / increment_s) * increment_s)::bigint / 3600,
        6)
$$;

GRANT EXECUTE ON FUNCTION segment_cost_eur TO quarterdeck_api;
