CREATE OR REPLACE FUNCTION notify_route() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('routes', NEW.id::text); RETURN NULL; END $$;

CREATE OR REPLACE TRIGGER instance_inserted AFTER INSERT ON instances FOR EACH ROW
    WHEN (NEW.status = 'ready') EXECUTE FUNCTION notify_route();

CREATE OR REPLACE TRIGGER instance_routed AFTER UPDATE ON instances FOR EACH ROW
    WHEN ((OLD.status, OLD.desired_status, OLD.endpoint_host, OLD.endpoint_port, OLD.generation, OLD.model_id)
        IS DISTINCT FROM
        (NEW.status, NEW.desired_status, NEW.endpoint_host, NEW.endpoint_port, NEW.generation, NEW.model_id))
    EXECUTE FUNCTION notify_route();
