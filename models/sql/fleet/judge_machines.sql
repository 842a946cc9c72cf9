-- Of listed machines those that no owner looks after. An instance that is being removed looks for everything that bears its tag, and
-- one that has no machine on record yet may be about to put any of them there: theirs are not among them.
CREATE OR REPLACE FUNCTION judge_machines(p_machines jsonb) RETURNS TABLE (provider_instance_id text, reason text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT m.provider_instance_id, CASE
        WHEN i.id IS NULL THEN 'no_row'
        WHEN i.status IN ('terminated', 'archived') THEN 'row_finished'
        ELSE 'surplus' END
    FROM jsonb_to_recordset(p_machines) AS m(provider_instance_id text, instance_id uuid)
        LEFT JOIN instances i ON i.id = m.instance_id
    WHERE (i.id IS NULL OR i.status IN ('terminated', 'archived')
            OR (i.status NOT IN ('draining', 'terminating') AND i.provider_instance_id <> m.provider_instance_id))
        AND NOT EXISTS (SELECT FROM billing_segments b WHERE b.instance_id = i.id
            AND b.provider_resource_id = m.provider_instance_id AND b.closed_at IS NULL)
$$;

GRANT EXECUTE ON FUNCTION judge_machines TO quarterdeck_worker;
