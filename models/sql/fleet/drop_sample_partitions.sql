CREATE OR REPLACE FUNCTION drop_sample_partitions(p_table text, p_width interval, p_before timestamptz) RETURNS int
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_name text;
    v_from timestamptz;
    v_dropped int := 0;
BEGIN
    FOR v_name, v_from IN
        SELECT c.relname, to_timestamp(right(c.relname, 12), 'YYYYMMDDHH24MI')
        FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
        WHERE h.inhparent = p_table::regclass AND c.relname ~ '_p[0-9]{12}$'
        ORDER BY 1
    LOOP
        CONTINUE WHEN v_from + p_width > p_before;
        IF p_table = 'system_samples' THEN
            PERFORM roll_up_system_samples(v_from + p_width, v_from);
        ELSIF p_table = 'gpu_samples' THEN
            PERFORM roll_up_gpu_samples(v_from + p_width, v_from);
        END IF;
        EXECUTE format('DROP TABLE %I', v_name);
        v_dropped := v_dropped + 1;
    END LOOP;
    RETURN v_dropped;
END $$;
