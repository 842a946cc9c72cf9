-- Whoever ends an operation, or goes on with it, withdraws what is still asked for it: nobody decides what is over.
CREATE OR REPLACE FUNCTION withdraw_approvals() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE approvals SET status = 'withdrawn', decided_at = now() WHERE operation_id = NEW.id AND status = 'pending';
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER operation_withdraws_approvals AFTER UPDATE ON operations
    FOR EACH ROW WHEN (OLD.status = 'waiting_approval' AND NEW.status <> 'waiting_approval')
    EXECUTE FUNCTION withdraw_approvals();
