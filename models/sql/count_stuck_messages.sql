-- Messages with an alarm, and those that have been due for as long and that nobody took up. A number, of whose messages not; both
-- halves walk an index, and no further than people would count.
CREATE OR REPLACE FUNCTION count_stuck_messages(p_overdue_s double precision, p_most int) RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*)::int FROM (
        (SELECT id FROM outbox WHERE delivered_at IS NULL AND alarmed_at IS NOT NULL LIMIT p_most)
        UNION
        (SELECT id FROM outbox WHERE delivered_at IS NULL AND next_attempt_at < now() - make_interval(secs => p_overdue_s)
            LIMIT p_most)
    ) stuck
$$;

GRANT EXECUTE ON FUNCTION count_stuck_messages TO quarterdeck_api;
