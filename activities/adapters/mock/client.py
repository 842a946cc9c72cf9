"""The HTTP API of the simulated cloud: one method per request, typed answers, errors already ours."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from activities.adapters.mock import translate
from activities.runtime.pacing import Pace

PAGE = 500
Answer = TypeVar("Answer", bound=BaseModel)
OnePage = TypeVar("OnePage", "CloudInstances", "CloudVolumes")


class Status(StrEnum):
    BUILD = "BUILD"
    ACTIVE = "ACTIVE"
    REBUILD = "REBUILD"
    SHUTOFF = "SHUTOFF"
    ERROR = "ERROR"
    DELETING = "DELETING"
    PREEMPTED = "PREEMPTED"
    DELETED = "DELETED"


class Address(BaseModel):
    host: str
    port: int


class CloudInstance(BaseModel):
    id: str
    name: str
    zone: str
    type: str
    status: Status
    tags: list[str]
    error: str | None = None
    created_at: datetime
    billed_from: datetime | None = None
    billed_until: datetime | None = None
    price_eur_per_hour: str
    address: Address | None = None

    def carries(self, tags: Iterable[str]) -> bool:
        return set(tags) <= set(self.tags)


class CloudVolume(BaseModel):
    id: str
    name: str
    volume_type: str
    size_gb: int
    is_boot: bool
    delete_on_terminate: bool
    attached_to: str | None = None
    created_at: datetime
    billed_from: datetime
    billed_until: datetime | None = None
    price_eur_per_hour: str


class CloudUsage(BaseModel):
    id: str
    billed_from: datetime | None = None
    billed_until: datetime | None = None
    ended: bool


class CloudType(BaseModel):
    code: str
    name: str
    zone: str
    gpu_count: int
    vram_per_gpu_gb: int
    cpu_count: int
    ram_gb: int
    bandwidth_bps: int
    price_eur_per_hour: str
    is_available: bool


class NewInstance(BaseModel):
    name: str
    zone: str
    type: str
    tags: list[str]
    user_data: SecretStr
    data_volume_gb: int = 0


class CloudInstances(BaseModel):
    instances: list[CloudInstance]
    next_cursor: str | None = None


class CloudVolumes(BaseModel):
    volumes: list[CloudVolume]
    next_cursor: str | None = None


class _Types(BaseModel):
    types: list[CloudType]


class CloudClient:
    """Raises Provider errors only. `http` comes with its timeouts and connection limits; it is its maker who closes it."""

    def __init__(self, http: httpx.AsyncClient, *, base_url: str, token: SecretStr, pace: Pace | None = None) -> None:
        self._http = http
        self._pace = pace or Pace()
        self._base_url = base_url.rstrip("/")
        self._token = token

    async def create(self, new: NewInstance) -> CloudInstance:
        body = new.model_dump(exclude={"user_data"}) | {"user_data": new.user_data.get_secret_value()}
        return _read(CloudInstance, await self._sent("POST", "/v1/instances", body=body))

    async def instances(self, tags: Sequence[str], zone: str | None = None) -> list[CloudInstance]:
        """All that carry every tag, oldest first; pages are followed. What the cloud shows besides is left out: an owner that
        removes what bears its tag must not remove what does not.
        """
        pages = _followed(lambda cursor: self.page_of_instances(tags, zone, cursor))
        return [instance async for page in pages for instance in page.instances if instance.carries(tags)]

    async def page_of_instances(
        self, tags: Sequence[str], zone: str | None = None, cursor: str | None = None
    ) -> CloudInstances:
        """As the cloud shows it, from the beginning or from the cursor of the page before."""
        return _read(CloudInstances, await self._sent("GET", "/v1/instances", query=_query(tags, zone, cursor)))

    async def instance(self, instance_id: str) -> CloudInstance | None:
        """None where the cloud says that it does not exist; it may only not be shown yet."""
        response = await self._answered("GET", f"/v1/instances/{_segment(instance_id)}")
        return None if translate.says_absent(response) else _read(CloudInstance, _successful(response))

    async def delete(self, instance_id: str) -> None:
        """Absence is success."""
        response = await self._answered("DELETE", f"/v1/instances/{_segment(instance_id)}")
        if not translate.says_absent(response):
            _successful(response)

    async def reinstall(self, instance_id: str, user_data: SecretStr, tags: Sequence[str]) -> CloudInstance:
        body = {"user_data": user_data.get_secret_value(), "tags": list(tags)}
        return _read(
            CloudInstance, await self._sent("POST", f"/v1/instances/{_segment(instance_id)}/reinstall", body=body)
        )

    async def restart_agent(self, instance_id: str, user_data: SecretStr) -> None:
        body = {"user_data": user_data.get_secret_value()}
        await self._sent("POST", f"/v1/instances/{_segment(instance_id)}/restart-agent", body=body)

    async def volumes(self, tags: Sequence[str], zone: str) -> list[CloudVolume]:
        """All that carry every tag; pages are followed. The cloud does not show the tags of a volume."""

        async def page_of_volumes(cursor: str | None) -> CloudVolumes:
            return _read(CloudVolumes, await self._sent("GET", "/v1/volumes", query=_query(tags, zone, cursor)))

        return [volume async for page in _followed(page_of_volumes) for volume in page.volumes]

    async def delete_volume(self, volume_id: str) -> None:
        """Absence is success."""
        response = await self._answered("DELETE", f"/v1/volumes/{_segment(volume_id)}")
        if not translate.says_absent(response):
            _successful(response)

    async def usage(self, resource_id: str) -> CloudUsage | None:
        """The meter of a machine or volume, also when it is gone; None for one that never was."""
        response = await self._answered("GET", f"/v1/usage/{_segment(resource_id)}")
        return None if translate.says_absent(response) else _read(CloudUsage, _successful(response))

    async def types(self, zone: str) -> list[CloudType]:
        return _read(_Types, await self._sent("GET", "/v1/types", query={"zone": zone})).types

    async def _sent(
        self, method: str, path: str, *, query: Mapping[str, str | list[str]] | None = None, body: object = None
    ) -> httpx.Response:
        return _successful(await self._answered(method, path, query=query, body=body))

    async def _answered(
        self, method: str, path: str, *, query: Mapping[str, str | list[str]] | None = None, body: object = None
    ) -> httpx.Response:
        """Once the cloud takes the call: one that is throttled was not carried out, and is sent again."""
        headers = {"Authorization": f"Bearer {self._token.get_secret_value()}"}

        async def send() -> httpx.Response:
            try:
                response = await self._http.request(
                    method, self._base_url + path, params=query, json=body, headers=headers
                )
            except httpx.HTTPError as error:
                raise translate.no_answer(error) from error
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise translate.failure(response)
            return response

        return await self._pace.call(send)


async def _followed(read: Callable[[str | None], Awaitable[OnePage]]) -> AsyncIterator[OnePage]:
    """Every page, to the last. Raises ProviderError for a list whose next page is one that was read before."""
    cursors: set[str] = set()
    page = await read(None)
    yield page
    while (cursor := page.next_cursor) is not None:
        if cursor in cursors:
            raise translate.endless()
        cursors.add(cursor)
        page = await read(cursor)
        yield page


def _query(tags: Sequence[str], zone: str | None, cursor: str | None) -> dict[str, str | list[str]]:
    query: dict[str, str | list[str]] = {"tag": list(tags), "limit": str(PAGE)}
    if zone is not None:
        query["zone"] = zone
    if cursor is not None:
        query["cursor"] = cursor
    return query


def _segment(resource_id: str) -> str:
    """An id as one segment of a path, whatever is in it."""
    return quote(resource_id, safe="")


def _successful(response: httpx.Response) -> httpx.Response:
    if not response.is_success:
        raise translate.failure(response)
    return response


def _read(kind: type[Answer], response: httpx.Response) -> Answer:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError:
        raise translate.unreadable() from None
