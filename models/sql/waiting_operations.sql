-- What the oldest open operations wait for and are held by, whoever's they are: for those who look after the installation. Ids and
-- codes alone; `total` is how many there are.
CREATE OR REPLACE FUNCTION waiting_operations(p_most int)
RETURNS TABLE (
    operation_id uuid, kind text, resource_kind text, resource_id uuid, waiting_on text, waiting_params jsonb,
    waiting_since timestamptz, held_code text, held_since timestamptz, total bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT o.id, o.kind, o.resource_kind, o.resource_id, o.waiting_on, o.waiting_params, o.waiting_since, o.held_code,
        o.held_since, count(*) OVER ()
    FROM operations o
    WHERE o.completed_at IS NULL AND (o.waiting_on IS NOT NULL OR o.held_code IS NOT NULL)
    ORDER BY o.created_at, o.id LIMIT p_most
$$;

GRANT EXECUTE ON FUNCTION waiting_operations TO quarterdeck_worker;
