"""The public API of the cloud under `/v1`: catalogue, machines, volumes, usage. Reference: `docs/simulated-cloud.md`."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web

from simcloud.calls import Calls
from simcloud.catalogue import ZONES
from simcloud.clock import Clock
from simcloud.cloud import Cloud, Order
from simcloud.errors import Broken, Malformed, Missing, Provisioning, Rejected, Throttled
from simcloud.faults import Effects, Faults, Kind, RequestClass
from simcloud.http import cut_connection, json_body, json_response
from simcloud.ledger import usage
from simcloud.machines import Machine, Status

PAGE_LIMIT = 1_000
DEFAULT_PAGE = 100
TAGS_LIMIT = 50
TAG_LIMIT = 256
USER_DATA_LIMIT = 64 << 10


class CloudApi:
    def __init__(self, cloud: Cloud, faults: Faults, clock: Clock, address: tuple[str, int], *, calls: Calls) -> None:
        self._cloud = cloud
        self._calls = calls
        self._faults = faults
        self._clock = clock
        self._address = address

    def routes(self) -> list[web.RouteDef]:
        counted = self._calls.counted
        return [
            web.get("/v1/zones", counted("zones", self._zones)),
            web.get("/v1/types", counted("types", self._types)),
            web.get("/v1/instances", counted("list", self._list)),
            web.post("/v1/instances", counted("create", self._create)),
            web.get("/v1/instances/{id}", counted("describe", self._describe)),
            web.delete("/v1/instances/{id}", counted("delete", self._delete)),
            web.post("/v1/instances/{id}/reinstall", counted("reinstall", self._reinstall)),
            web.post("/v1/instances/{id}/restart-agent", counted("restart_agent", self._restart_agent)),
            web.get("/v1/volumes", counted("volumes", self._list_volumes)),
            web.delete("/v1/volumes/{id}", counted("delete_volume", self._delete_volume)),
            web.get("/v1/usage/{id}", counted("usage", self._usage)),
        ]

    async def _zones(self, _request: web.Request) -> web.Response:
        return json_response({"zones": [asdict(zone) for zone in ZONES]})

    async def _types(self, request: web.Request) -> web.Response:
        offers = self._cloud.offers.in_zone(request.query.get("zone"))
        return json_response({"types": [self._cloud.offers.shown(offer) for offer in offers]})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        zone, tags, after, limit = _paging(request)
        effects = self._faults.draw(RequestClass.LIST, zone=zone, type_code=None)

        def page() -> dict[str, Any]:
            found = self._cloud.machines.page(tags, zone, self._clock.now(), after, limit + 1)
            shown = [self._shown(machine) for machine in found[:limit]]
            return {"instances": shown, "next_cursor": str(found[limit - 1].seq) if len(found) > limit else None}

        return await _carried_out(request, effects, page)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        order = _order(await json_body(request))
        effects = self._faults.draw(RequestClass.CREATE, zone=order.zone, type_code=order.type)
        return await _carried_out(request, effects, lambda: self._shown(self._cloud.create(order, effects)), status=201)

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        machine, effects = self._addressed(request, RequestClass.DESCRIBE)
        return await _carried_out(request, effects, lambda: self._shown(self._cloud.visible(machine.id)))

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        machine, effects = self._addressed(request, RequestClass.DELETE)
        return await _carried_out(request, effects, lambda: self._shown(self._cloud.delete(machine.id, effects)))

    async def _reinstall(self, request: web.Request) -> web.StreamResponse:
        body = await json_body(request)
        user_data = _user_data(body)
        tags = _tags(body["tags"]) if "tags" in body else None
        machine, effects = self._addressed(request, RequestClass.REINSTALL)
        return await _carried_out(
            request, effects, lambda: self._shown(self._cloud.reinstall(machine.id, user_data, tags, effects))
        )

    async def _restart_agent(self, request: web.Request) -> web.StreamResponse:
        user_data = _user_data(await json_body(request))
        machine, effects = self._addressed(request, RequestClass.RESTART_AGENT)
        return await _carried_out(
            request, effects, lambda: self._shown(self._cloud.restart_agent(machine.id, user_data, effects))
        )

    async def _list_volumes(self, request: web.Request) -> web.StreamResponse:
        zone, tags, after, limit = _paging(request)
        effects = self._faults.draw(RequestClass.VOLUMES, zone=zone, type_code=None)

        def page() -> dict[str, Any]:
            found = self._cloud.volumes.existing(tags, zone, after, limit + 1)
            cursor = str(found[limit - 1].seq) if len(found) > limit else None
            return {"volumes": [volume.shown() for volume in found[:limit]], "next_cursor": cursor}

        return await _carried_out(request, effects, page)

    async def _delete_volume(self, request: web.Request) -> web.StreamResponse:
        volume = self._cloud.volumes.get(request.match_info["id"])
        effects = self._faults.draw(RequestClass.VOLUMES, zone=volume.zone if volume else None, type_code=None)
        return await _carried_out(
            request, effects, lambda: self._cloud.delete_volume(request.match_info["id"], effects).shown()
        )

    async def _usage(self, request: web.Request) -> web.Response:
        resource_id = request.match_info["id"]
        resource = self._cloud.machines.get(resource_id) or self._cloud.volumes.get(resource_id)
        if resource is None:
            raise Missing(f"nothing was ever metered as {resource_id}")
        return json_response(usage(resource, self._clock.now()))

    def _addressed(self, request: web.Request, request_class: RequestClass) -> tuple[Machine, Effects]:
        machine = self._cloud.existing(request.match_info["id"])
        building = machine.status is Status.BUILD
        return machine, self._faults.draw(request_class, zone=machine.zone, type_code=machine.type, building=building)

    def _shown(self, machine: Machine) -> dict[str, Any]:
        return machine.shown(self._address)


async def _carried_out(
    request: web.Request, effects: Effects, act: Callable[[], Mapping[str, Any]], *, status: int = 200
) -> web.StreamResponse:
    """Do it and answer, unless a fault has it otherwise. `act` does not wait, so it is done wholly or not at all."""
    if Kind.LOST_REQUEST in effects:
        return _lost(request)
    if Kind.THROTTLED in effects:
        raise Throttled("too many requests", retry_after_s=effects.seconds(Kind.THROTTLED, "retry_after_s"))
    if Kind.FORBIDDEN in effects:
        raise Provisioning("the machine is being provisioned")
    if Kind.ERROR_BEFORE in effects:
        raise Broken("internal error")
    answer = act()
    if (delay_s := effects.seconds(Kind.SLOW, "delay_s")) is not None:
        await asyncio.sleep(delay_s)
    if Kind.LOST_RESPONSE in effects:
        return _lost(request)
    if Kind.ERROR_AFTER in effects:
        raise Broken("internal error")
    return json_response(answer, status)


def _lost(request: web.Request) -> web.StreamResponse:
    cut_connection(request)
    raise ConnectionResetError("a lost connection that was asked for")


def _paging(request: web.Request) -> tuple[str | None, list[str], int, int]:
    try:
        after, limit = int(request.query.get("cursor", "0")), int(request.query.get("limit", str(DEFAULT_PAGE)))
    except ValueError as error:
        raise Malformed("cursor and limit are numbers") from error
    if not 1 <= limit <= PAGE_LIMIT or after < 0:
        raise Malformed(f"limit is 1 to {PAGE_LIMIT}, cursor comes from the page before")
    return request.query.get("zone"), request.query.getall("tag", []), after, limit


def _order(body: Mapping[str, Any]) -> Order:
    known = {"name", "zone", "type", "tags", "user_data", "data_volume_gb", "keep_data_volume"}
    if unknown := set(body) - known:
        raise Rejected(f"unknown fields {sorted(unknown)}; a machine has {sorted(known)}")
    texts = [body.get(name) for name in ("name", "zone", "type")]
    if not all(isinstance(text, str) and 0 < len(text) <= TAG_LIMIT for text in texts):
        raise Rejected("name, zone and type are texts")
    size_gb = body.get("data_volume_gb", 0)
    if isinstance(size_gb, bool) or not isinstance(size_gb, int) or not 0 <= size_gb <= 16_384:
        raise Rejected("data_volume_gb is 0 to 16384")
    return Order(
        name=body["name"], zone=body["zone"], type=body["type"], tags=_tags(body.get("tags", [])),
        user_data=_user_data(body), data_volume_gb=size_gb, keep_data_volume=body.get("keep_data_volume") is True,
    )  # fmt: skip


def _tags(value: object) -> list[str]:
    if not isinstance(value, list) or len(value) > TAGS_LIMIT:
        raise Rejected(f"tags are a list of at most {TAGS_LIMIT}")
    if not all(isinstance(tag, str) and 0 < len(tag) <= TAG_LIMIT for tag in value):
        raise Rejected(f"a tag is a text of at most {TAG_LIMIT} characters")
    return value


def _user_data(body: Mapping[str, Any]) -> str:
    value = body.get("user_data", "")
    if not isinstance(value, str) or len(value) > USER_DATA_LIMIT:
        raise Rejected(f"user_data is a text of at most {USER_DATA_LIMIT} characters")
    return value
