"""Which surface a path belongs to decides how its errors look."""

import pytest

from api.surfaces import FLEET, GATEWAY, INFERENCE, STACKS, Surface, surface_for


@pytest.mark.parametrize(
    ("path", "surface"),
    [
        ("/", FLEET),
        ("", FLEET),
        ("/instances/v1", FLEET),
        ("/v1", INFERENCE),
        ("/v1/models", INFERENCE),
        ("/v10/models", FLEET),
        ("/api", GATEWAY),
        ("/api/dh/x", GATEWAY),
        ("/api/v1/stacks", STACKS),
        ("/api/v1", STACKS),
        ("/api/v12", GATEWAY),
        ("/api_keys", FLEET),
        ("/api-docs/openapi.json", FLEET),
        ("nonsense", FLEET),
    ],
)
def test_surface_for(path: str, surface: Surface):
    assert surface_for(path) is surface
