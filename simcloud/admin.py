"""What no real cloud offers, under `/sim`: the ledger, faults, and hands that reach into the data centre."""

from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from simcloud import knobs
from simcloud.calls import Calls, rate_of
from simcloud.catalogue import Offers
from simcloud.clock import Clock
from simcloud.cloud import Cloud
from simcloud.database import Database
from simcloud.errors import Malformed, Rejected
from simcloud.faults import Faults
from simcloud.fleet import Fleet
from simcloud.http import json_body, json_response
from simcloud.inference_ledger import InferenceLedger
from simcloud.ledger import ledger

INFERENCE_PAGE = 1_000


class Admin:
    def __init__(
        self,
        *,
        database: Database,
        cloud: Cloud,
        faults: Faults,
        fleet: Fleet,
        inference: InferenceLedger,
        clock: Clock,
        calls: Calls,
    ) -> None:
        self._calls = calls
        self._database = database
        self._cloud = cloud
        self._faults = faults
        self._fleet = fleet
        self._inference = inference
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/sim/ledger", self._ledger),
            web.get("/sim/inference", self._inference_ledger),
            web.get("/sim/calls", self._count_calls),
            web.put("/sim/rate", self._limit_rate),
            web.delete("/sim/rate", self._lift_rate),
            web.get("/sim/faults", self._list_faults),
            web.post("/sim/faults", self._add_fault),
            web.delete("/sim/faults", self._remove_faults),
            web.delete("/sim/faults/{id}", self._remove_fault),
            web.put("/sim/offers/{zone}/{type}", self._change_offer),
            web.post("/sim/instances/{id}/preempt", self._preempt),
            web.post("/sim/instances/{id}/stop", self._stop),
            web.post("/sim/instances/{id}/kill", self._kill),
            web.get("/sim/instances/{id}/agent", self._agent),
            web.post("/sim/instances/{id}/agent", self._act_on_agent),
            web.put("/sim/instances/{id}/serving", self._set_traits),
            web.post("/sim/reset", self._reset),
        ]

    async def _ledger(self, request: web.Request) -> web.Response:
        tag, prefix = request.query.get("tag"), request.query.get("group_prefix")
        return json_response(
            ledger(self._cloud.machines, self._cloud.volumes, self._clock.now(), tag=tag, prefix=prefix)
        )

    async def _inference_ledger(self, request: web.Request) -> web.Response:
        try:
            limit = int(request.query.get("limit", str(INFERENCE_PAGE)))
        except ValueError as error:
            raise Malformed("limit is a number") from error
        return json_response(self._inference.shown(request.query.get("machine_id"), max(0, limit)))

    async def _count_calls(self, _request: web.Request) -> web.Response:
        return json_response(self._calls.shown())

    async def _limit_rate(self, request: web.Request) -> web.Response:
        rate = rate_of(await json_body(request))
        self._calls.limit(rate)
        return json_response(asdict(rate))

    async def _lift_rate(self, _request: web.Request) -> web.Response:
        self._calls.limit(None)
        return json_response({})

    async def _list_faults(self, _request: web.Request) -> web.Response:
        return json_response({"faults": [rule.shown() for rule in self._faults.all()]})

    async def _add_fault(self, request: web.Request) -> web.Response:
        return json_response(self._faults.add(await json_body(request)).shown(), 201)

    async def _remove_faults(self, _request: web.Request) -> web.Response:
        self._faults.remove(None)
        return json_response({"faults": []})

    async def _remove_fault(self, request: web.Request) -> web.Response:
        try:
            rule_id = int(request.match_info["id"])
        except ValueError as error:
            raise Malformed("a fault's id is a number") from error
        self._faults.remove(rule_id)
        return json_response({"faults": [rule.shown() for rule in self._faults.all()]})

    async def _change_offer(self, request: web.Request) -> web.Response:
        offers: Offers = self._cloud.offers
        offer = offers.get(request.match_info["type"], request.match_info["zone"])
        body = await json_body(request)
        try:
            price = Decimal(str(body.get("price_eur_per_hour", offer.price_eur_per_hour)))
            capacity = int(body.get("capacity", offer.capacity))
        except (InvalidOperation, TypeError, ValueError) as error:
            raise Rejected("price_eur_per_hour is a decimal, capacity a whole number") from error
        if not price.is_finite() or price < 0 or capacity < 0:
            raise Rejected("neither price nor capacity is negative")
        is_available = body.get("is_available", offer.is_available) is True
        changed = offers.change(offer.type, offer.zone, price=price, capacity=capacity, is_available=is_available)
        return json_response(offers.shown(changed))

    async def _preempt(self, request: web.Request) -> web.Response:
        return json_response(self._cloud.preempt(request.match_info["id"]).shown(None))

    async def _stop(self, request: web.Request) -> web.Response:
        return json_response(self._cloud.stop(request.match_info["id"]).shown(None))

    async def _kill(self, request: web.Request) -> web.Response:
        return json_response(self._cloud.vanish(request.match_info["id"]).shown(None))

    async def _agent(self, request: web.Request) -> web.Response:
        return json_response(self._fleet.shown(request.match_info["id"]))

    async def _act_on_agent(self, request: web.Request) -> web.Response:
        machine_id = request.match_info["id"]
        body: dict[str, Any] = dict(await json_body(request))
        self._fleet.act(machine_id, str(body.get("action", "")))
        return json_response(self._fleet.shown(machine_id))

    async def _set_traits(self, request: web.Request) -> web.Response:
        machine_id = request.match_info["id"]
        self._fleet.set_traits(machine_id, knobs.from_json(await json_body(request)))
        return json_response(self._fleet.shown(machine_id))

    async def _reset(self, _request: web.Request) -> web.Response:
        """As on the first day: nothing made, nothing owed, no faults, the first price list."""
        self._fleet.clear()
        self._faults.remove(None)
        self._calls.clear()
        self._inference.clear()
        self._database.wipe()
        self._cloud.offers.seed()
        return json_response({"status": "ok"})
