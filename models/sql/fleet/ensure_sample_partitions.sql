CREATE OR REPLACE FUNCTION ensure_sample_partitions(p_table text, p_now timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
    v_width interval;
    v_ahead interval;
    v_keep interval;
    v_from timestamptz;
    v_changes int := 0;
BEGIN
    SELECT width, ahead, keep INTO STRICT v_width, v_ahead, v_keep
    FROM (VALUES
        ('system_samples', interval '10 minutes', interval '30 minutes', interval '1 hour'),
        ('gpu_samples', interval '10 minutes', interval '30 minutes', interval '1 hour'),
        ('system_samples_minute', interval '1 day', interval '2 days', interval '30 days'),
        ('gpu_samples_minute', interval '1 day', interval '2 days', interval '30 days')
    ) AS policy (table_name, width, ahead, keep) WHERE table_name = p_table;
    PERFORM pg_advisory_xact_lock(hashtext('sample partitions'), hashtext(p_table));
    FOR v_from IN EXECUTE format(
        'SELECT generate_series(date_bin($1, $2, $3), $2 + $4, $1) UNION SELECT DISTINCT date_bin($1, time, $3) FROM %I ORDER BY 1',
        p_table || '_p_default') USING v_width, p_now, timestamptz '2000-01-01', v_ahead
    LOOP
        v_changes := v_changes + create_sample_partition(p_table, v_from, v_from + v_width);
    END LOOP;
    RETURN v_changes + drop_sample_partitions(p_table, v_width, p_now - v_keep);
END $$;

GRANT EXECUTE ON FUNCTION ensure_sample_partitions TO quarterdeck_worker;
