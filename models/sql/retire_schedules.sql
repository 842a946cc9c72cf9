-- What a resource had done again and again ends with it.
CREATE OR REPLACE FUNCTION retire_schedules(p_resource_kind text, p_resource_ids uuid[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE retired bigint;
BEGIN
    UPDATE schedules SET state = 'removing', revision = revision + 1, changed_at = now()
    WHERE resource_kind = p_resource_kind AND resource_id = ANY (p_resource_ids) AND state <> 'removing';
    GET DIAGNOSTICS retired = ROW_COUNT;
    RETURN retired;
END $$;

GRANT EXECUTE ON FUNCTION retire_schedules TO quarterdeck_worker;
