CREATE OR REPLACE FUNCTION notify_model() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('models', coalesce(NEW.id, OLD.id)::text); RETURN NULL; END $$;

CREATE OR REPLACE TRIGGER models_changed AFTER INSERT OR DELETE OR UPDATE OF code, model_id, is_active ON models
    FOR EACH ROW EXECUTE FUNCTION notify_model();
