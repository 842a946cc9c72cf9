-- A worker chooses among what was frozen with the order, and sets no price: neither is its to write.
CREATE OR REPLACE FUNCTION settle_instance_zone(p_instance uuid, p_zone text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE instances i SET (zone_id, zone_code, price_eur_per_hour) = (
        SELECT (o ->> 'zone_id')::uuid, o ->> 'zone_code', (o ->> 'price_eur_per_hour')::numeric
        FROM jsonb_array_elements(i.zone_offers) o WHERE o ->> 'zone_code' = p_zone
    )
    WHERE i.id = p_instance AND i.organization_id = current_organization() AND i.status = 'provisioning'
        AND EXISTS (SELECT FROM jsonb_array_elements(i.zone_offers) o WHERE o ->> 'zone_code' = p_zone)
$$;

GRANT EXECUTE ON FUNCTION settle_instance_zone TO quarterdeck_worker;
