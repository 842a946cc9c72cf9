"""Answers that are rendered without a model: long lists, whose values the database has typed already."""

from decimal import Decimal

import orjson
from starlette.responses import Response

from models.base.money import eur


def json_response(value: object) -> Response:
    """As the models of `api/schemas` render it: moments in RFC 3339 with `Z`, amounts as numbers at six places."""
    return Response(orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z), media_type="application/json")


def _plain(value: object) -> float:
    if isinstance(value, Decimal):
        return float(eur(value))
    raise TypeError(f"{type(value).__name__} has no form in JSON")
