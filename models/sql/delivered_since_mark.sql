-- The workflows that a message reached since the last sweep left its mark: what an engine may have forgotten that lost less than a sweep.
CREATE OR REPLACE FUNCTION delivered_since_mark() RETURNS TABLE (workflow_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT o.workflow_id FROM outbox o, installation i WHERE o.delivered_at >= i.sweep_marked_at
$$;

GRANT EXECUTE ON FUNCTION delivered_since_mark TO quarterdeck_worker;
