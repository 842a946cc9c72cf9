CREATE OR REPLACE FUNCTION ensure_personal_organization(p_user_id uuid, p_new_id uuid) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    personal_slug text := 'personal-' || replace(p_user_id::text, '-', '');
    personal_id uuid;
BEGIN
    INSERT INTO organizations (id, name, slug, is_personal, allow_registration, created_by_user_id)
        VALUES (p_new_id, 'Personal', personal_slug, true, false, p_user_id) ON CONFLICT (slug) DO NOTHING;
    SELECT o.id INTO STRICT personal_id FROM organizations o
        WHERE o.slug = personal_slug AND o.is_personal AND o.created_by_user_id = p_user_id;
    INSERT INTO memberships (organization_id, user_id, role) VALUES (personal_id, p_user_id, 'owner')
        ON CONFLICT (organization_id, user_id) DO NOTHING;
    RETURN personal_id;
END $$;

GRANT EXECUTE ON FUNCTION ensure_personal_organization TO quarterdeck_api;
