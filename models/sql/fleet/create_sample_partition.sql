CREATE OR REPLACE FUNCTION create_sample_partition(p_table text, p_from timestamptz, p_until timestamptz) RETURNS int
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_name text := p_table || to_char(p_from, '"_p"YYYYMMDDHH24MI');
BEGIN
    IF to_regclass(v_name) IS NOT NULL THEN
        RETURN 0;
    END IF;
    -- Attached rather than created in place: that would keep heartbeats out of the whole table meanwhile.
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', p_table || '_p_default');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS)', v_name, p_table);
    EXECUTE format('WITH moved AS (DELETE FROM %I WHERE time >= $1 AND time < $2 RETURNING *) INSERT INTO %I SELECT * FROM moved',
        p_table || '_p_default', v_name) USING p_from, p_until;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', p_table, v_name, p_from, p_until);
    RETURN 1;
END $$;
