CREATE OR REPLACE FUNCTION roll_up_gpu_samples(p_until timestamptz, p_from timestamptz) RETURNS bigint
LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH averaged AS (
        INSERT INTO gpu_samples_minute (
            instance_id, organization_id, time, gpu_index, gpu_utilization, vram_used_mb, vram_total_mb, temp_c, power_w,
            power_limit_w)
        SELECT instance_id, organization_id, date_trunc('minute', time), gpu_index, avg(gpu_utilization), avg(vram_used_mb),
            max(vram_total_mb), avg(temp_c), avg(power_w), max(power_limit_w)
        FROM gpu_samples WHERE time >= p_from AND time < p_until
        GROUP BY 1, 2, 3, 4
        ON CONFLICT (instance_id, gpu_index, time) DO UPDATE SET
            gpu_utilization = excluded.gpu_utilization, vram_used_mb = excluded.vram_used_mb,
            vram_total_mb = excluded.vram_total_mb, temp_c = excluded.temp_c, power_w = excluded.power_w,
            power_limit_w = excluded.power_limit_w
        RETURNING 1)
    SELECT count(*) FROM averaged
$$;
