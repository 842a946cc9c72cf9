-- As the transaction commits, after its last statement: the stream stays locked until the commit is on the disk and no longer, so that
-- numbers come in the order of commits and a reader who goes on after one has missed nothing.
CREATE OR REPLACE FUNCTION number_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE next_seq bigint;
BEGIN
    INSERT INTO event_streams AS s (stream, organization_id, last_seq) VALUES (NEW.stream, NEW.organization_id, 1)
        ON CONFLICT (stream) DO UPDATE SET last_seq = s.last_seq + 1 WHERE s.organization_id = NEW.organization_id
        RETURNING s.last_seq INTO next_seq;
    IF next_seq IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'the stream is of another organization';
    END IF;
    UPDATE events SET seq = next_seq WHERE stream = NEW.stream AND seq = NEW.seq;
    PERFORM pg_notify('events', NEW.stream);
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER event_numbered AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.seq < 0) EXECUTE FUNCTION number_event();
