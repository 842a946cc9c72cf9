"""The documentation page. Its assets come with a wheel and are served from here: no browser asks anybody else."""

from functools import cache
from importlib.resources import files

from models.base.errors import NotFound

MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript",
}

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
}
"""Swagger UI writes inline styles; scripts come from here alone."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Quarterdeck API</title>
<link rel="icon" href="/swagger-ui/favicon-32x32.png">
<link rel="stylesheet" href="/swagger-ui/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/swagger-ui/swagger-ui-bundle.js"></script>
<script src="/swagger-ui/start.js"></script>
</body>
</html>
"""

START = b"""window.ui = SwaggerUIBundle({
  url: "/api-docs/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""


@cache
def asset(name: str) -> tuple[bytes, str]:
    """The bytes of a part of the page, and their media type. Raises NotFound."""
    media_type = MEDIA_TYPES.get(name)
    if media_type is None:
        raise NotFound("the documentation page has no such part")
    if name == "start.js":
        return START, media_type
    (version,) = (files("swagger_ui_bundle") / "vendor").iterdir()
    return (version / name).read_bytes(), media_type
