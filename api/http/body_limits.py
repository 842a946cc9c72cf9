"""How much a request may send. `/v1` reads for itself: `QUARTERDECK_REQUEST_BODY_LIMIT_BYTES`, for conversations with images."""

from collections.abc import Mapping

LIMIT_BYTES = 65_536
"""For every path that is not named below: no form of this API is longer than a page of text."""

LARGE_BODIES: Mapping[str, str] = {
    "/internal/codec/decode": "Temporal's web UI sends the payloads of a whole page of history; superadmins only",
}
"""The paths that may send as much as `/v1`, and why. Uploads belong here when there are some."""
