-- `p_kinds` are kinds of streams, what stands before the slash of their names, that are kept for seconds of their own, `p_kept_s`.
CREATE OR REPLACE FUNCTION purge_expired(
    p_delivered_kept_s double precision, p_events_kept_s double precision,
    p_kinds text[] DEFAULT '{}', p_kept_s double precision[] DEFAULT '{}'
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    purged bigint := 0; step bigint;
    v_least_s double precision := least(p_events_kept_s, (SELECT min(k) FROM unnest(p_kept_s) k));
    v_operations_s double precision := coalesce(p_kept_s[array_position(p_kinds, 'operation')], p_events_kept_s);
BEGIN
    DELETE FROM outbox WHERE delivered_at < now() - make_interval(secs => p_delivered_kept_s);
    GET DIAGNOSTICS step = ROW_COUNT; purged := purged + step;
    DELETE FROM events e WHERE e.created_at < now() - make_interval(secs => v_least_s)
        AND e.created_at < now() - make_interval(secs =>
            coalesce(p_kept_s[array_position(p_kinds, split_part(e.stream, '/', 1))], p_events_kept_s));
    GET DIAGNOSTICS step = ROW_COUNT; purged := purged + step;
    -- A stream whose operation is long over gets no further event, so that its counter may go. All others keep theirs: a number
    -- that came twice would be passed over by who goes on after it.
    DELETE FROM event_streams s WHERE s.stream LIKE 'operation/%'
        AND NOT EXISTS (SELECT FROM events e WHERE e.stream = s.stream)
        AND EXISTS (SELECT FROM operations o WHERE o.id = substr(s.stream, length('operation/') + 1)::uuid
            AND o.completed_at < now() - make_interval(secs => v_operations_s));
    GET DIAGNOSTICS step = ROW_COUNT; purged := purged + step;
    DELETE FROM idempotency_keys WHERE expires_at < now();
    GET DIAGNOSTICS step = ROW_COUNT; purged := purged + step;
    DELETE FROM alarms WHERE cleared_at < now() - make_interval(secs => p_events_kept_s);
    GET DIAGNOSTICS step = ROW_COUNT; purged := purged + step;
    RETURN purged;
END $$;

GRANT EXECUTE ON FUNCTION purge_expired TO quarterdeck_worker;
