CREATE OR REPLACE FUNCTION roll_up_system_samples(p_until timestamptz, p_from timestamptz) RETURNS bigint
LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH averaged AS (
        INSERT INTO system_samples_minute (
            instance_id, organization_id, time, queue_depth, slots_busy, cpu_usage_pct, load1, mem_used_bytes, mem_total_bytes,
            disk_used_bytes, disk_total_bytes, net_rx_bps, net_tx_bps)
        SELECT instance_id, organization_id, date_trunc('minute', time), avg(queue_depth), avg(slots_busy), avg(cpu_usage_pct),
            avg(load1), round(avg(mem_used_bytes)), max(mem_total_bytes), round(avg(disk_used_bytes)), max(disk_total_bytes),
            round(avg(net_rx_bps)), round(avg(net_tx_bps))
        FROM system_samples WHERE time >= p_from AND time < p_until
        GROUP BY 1, 2, 3
        ON CONFLICT (instance_id, time) DO UPDATE SET
            queue_depth = excluded.queue_depth, slots_busy = excluded.slots_busy, cpu_usage_pct = excluded.cpu_usage_pct,
            load1 = excluded.load1, mem_used_bytes = excluded.mem_used_bytes, mem_total_bytes = excluded.mem_total_bytes,
            disk_used_bytes = excluded.disk_used_bytes, disk_total_bytes = excluded.disk_total_bytes,
            net_rx_bps = excluded.net_rx_bps, net_tx_bps = excluded.net_tx_bps
        RETURNING 1)
    SELECT count(*) FROM averaged
$$;
