-- In the transaction that makes it true. What an organization is told gets its number as the transaction commits (number_event): the
-- stream that all of its writers have in common is locked for that moment alone. Any other stream has one writer at a time.
-- Answers with the number, or NULL where there is none yet.
CREATE OR REPLACE FUNCTION append_event(p_stream text, p_organization_id uuid, p_kind text, p_data jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE next_seq bigint;
BEGIN
    IF p_stream = 'organization/' || p_organization_id THEN
        -- Below zero until then, where no reader looks; 60 random bits, so that no two rows meet.
        INSERT INTO events (stream, seq, organization_id, kind, data) VALUES (
            p_stream, -1 - ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 18, 15))::bit(60)::bigint,
            p_organization_id, p_kind, p_data);
        RETURN NULL;
    END IF;
    INSERT INTO event_streams AS s (stream, organization_id, last_seq) VALUES (p_stream, p_organization_id, 1)
        ON CONFLICT (stream) DO UPDATE SET last_seq = s.last_seq + 1
        RETURNING s.last_seq INTO next_seq;
    INSERT INTO events (stream, seq, organization_id, kind, data)
        VALUES (p_stream, next_seq, p_organization_id, p_kind, p_data);
    PERFORM pg_notify('events', p_stream);
    RETURN next_seq;
END $$;

GRANT EXECUTE ON FUNCTION append_event TO quarterdeck_api, quarterdeck_worker;
