-- Functions of the fleet, and processes of before, write messages to owners of instances by the workflow's id alone.
CREATE OR REPLACE FUNCTION name_instance_of_message() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF pg_input_is_valid(NEW.payload ->> 'instance_id', 'uuid') THEN
        SELECT 'instance', i.id, i.provider_code INTO NEW.resource_kind, NEW.resource_id, NEW.provider_code
            FROM instances i WHERE i.id = (NEW.payload ->> 'instance_id')::uuid;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER message_names_instance BEFORE INSERT ON outbox
    FOR EACH ROW WHEN (NEW.resource_id IS NULL AND NEW.workflow = 'Instance')
    EXECUTE FUNCTION name_instance_of_message();
