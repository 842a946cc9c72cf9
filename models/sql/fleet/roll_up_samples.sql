CREATE OR REPLACE FUNCTION roll_up_samples(p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_until timestamptz := date_trunc('minute', p_now);
    v_oldest timestamptz := v_until - interval '70 minutes';  -- the longest that a raw row lives
    v_again interval := interval '2 minutes';  -- a heartbeat that committed late changes a minute already averaged
BEGIN
    RETURN roll_up_system_samples(v_until, greatest(v_oldest, (
            SELECT max(time) - v_again FROM system_samples_minute WHERE time >= v_oldest AND time < v_until)))
        + roll_up_gpu_samples(v_until, greatest(v_oldest, (
            SELECT max(time) - v_again FROM gpu_samples_minute WHERE time >= v_oldest AND time < v_until)));
END $$;

GRANT EXECUTE ON FUNCTION roll_up_samples TO quarterdeck_worker;
