"""Routes that know who calls before they read what was sent, and that parse only what is within bounds."""

import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from models.base.json_bounds import check_json_bounds

Check = Callable[[Request], Awaitable[object]]
"""Reads the head of a request; raises AppError for one whose body is not worth reading."""

Dependency = TypeVar("Dependency", bound=Callable[..., Any])

_LONG_NUMBER = re.compile(rb"[0-9]{19}")
"""What may be beyond 64 bits: orjson would make a float of it, and nobody would notice."""

_CHECK = "checked_before_the_body"


def before_the_body(check: Check) -> Callable[[Dependency], Dependency]:
    """For a dependency that needs only the head: its check runs before the body is read, with which the framework begins."""

    def marked(dependency: Dependency) -> Dependency:
        setattr(dependency, _CHECK, check)
        return dependency

    return marked


class Route(APIRoute):
    """The `route_class` of every router."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        checks = list(dict.fromkeys(_checks(self.dependant)))

        async def handler(request: Request) -> Response:
            for check in checks:
                await check(request)
            return await handle(_BoundedRequest(request.scope, request.receive))

        return handler


class _BoundedRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        check_json_bounds(body)
        if _LONG_NUMBER.search(body) is None:
            with contextlib.suppress(orjson.JSONDecodeError):
                return orjson.loads(body)
        # Half a surrogate pair, which orjson refuses, is a field's mistake: the field's own error tells it better.
        return json.loads(body.decode())


def _checks(dependant: Dependant) -> Iterator[Check]:
    check: Check | None = getattr(dependant.call, _CHECK, None)
    if check is not None:
        yield check
    for inner in dependant.dependencies:
        yield from _checks(inner)
