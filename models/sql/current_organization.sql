CREATE OR REPLACE FUNCTION current_organization() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('app.organization_id', true), '')::uuid $$;

GRANT EXECUTE ON FUNCTION current_organization TO quarterdeck_api, quarterdeck_worker;
