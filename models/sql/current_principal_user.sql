CREATE OR REPLACE FUNCTION current_principal_user() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('app.user_id', true), '')::uuid $$;

GRANT EXECUTE ON FUNCTION current_principal_user TO quarterdeck_api, quarterdeck_worker;
