-- What is about an instance names it twice: by its key, and as a resource like any other. Whoever writes the row says either.
CREATE OR REPLACE FUNCTION name_instance() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.instance_id IS NOT NULL THEN
        NEW.resource_kind := 'instance';
        NEW.resource_id := NEW.instance_id;
    ELSIF NEW.resource_kind = 'instance' THEN
        SELECT i.id INTO NEW.instance_id FROM instances i WHERE i.id = NEW.resource_id;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER action_log_names_instance BEFORE INSERT ON action_logs
    FOR EACH ROW EXECUTE FUNCTION name_instance();
CREATE OR REPLACE TRIGGER segment_names_instance BEFORE INSERT ON billing_segments
    FOR EACH ROW EXECUTE FUNCTION name_instance();
