CREATE OR REPLACE FUNCTION record_inference(p_records jsonb) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH given AS (
        SELECT r.* FROM jsonb_to_recordset(p_records) AS r(
            id uuid, retried_as uuid, request_id text, organization_id uuid, user_id uuid, api_key_id uuid, model_id uuid, model text,
            instance_id uuid, endpoint text, is_stream boolean, outcome text, http_status int, input_tokens int,
            output_tokens int, usage_source text, started_at timestamptz, first_byte_at timestamptz,
            completed_at timestamptz)
    ), attributable AS (
        SELECT g.id, g.retried_as, g.request_id, o.id AS organization_id, u.id AS user_id, k.id AS api_key_id, m.id AS model_id, g.model,
            i.id AS instance_id, g.endpoint, g.is_stream, g.outcome, g.http_status, g.input_tokens, g.output_tokens,
            g.usage_source, g.started_at, g.first_byte_at, g.completed_at
        FROM given g
        JOIN organizations o ON o.id = g.organization_id
        JOIN users u ON u.id = g.user_id
        LEFT JOIN api_keys k ON k.id = g.api_key_id
        LEFT JOIN models m ON m.id = g.model_id
        LEFT JOIN instances i ON i.id = g.instance_id
    ), written AS (
        INSERT INTO inference_requests (
            id, retried_as, request_id, organization_id, user_id, api_key_id, model_id, model, instance_id, endpoint, is_stream,
            outcome, http_status, input_tokens, output_tokens, usage_source, started_at, first_byte_at, completed_at)
        SELECT * FROM attributable
        ON CONFLICT (id) DO NOTHING
    )
    SELECT ((SELECT count(*) FROM given) - (SELECT count(*) FROM attributable))::integer
$$;

GRANT EXECUTE ON FUNCTION record_inference TO quarterdeck_api;
