CREATE OR REPLACE FUNCTION note_heartbeat_intake(p_longest_gap_s double precision) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE installation SET intake_seen_at = now(), intake_since = CASE
        WHEN intake_seen_at >= now() - make_interval(secs => p_longest_gap_s) THEN coalesce(intake_since, now())
        ELSE now() END
$$;

GRANT EXECUTE ON FUNCTION note_heartbeat_intake TO quarterdeck_api;
