"""The catalogue that every installation starts with: `seeds/*.csv`, put in where it is missing. What a provider brings lies in a
folder of its own there.

Seeding runs at every start. It adds rows and never changes one, with a single exception: whether a provider has an adapter is a
fact about the program, not a choice of the operator. A type is offered in a zone only when one of the two is new, so that an
offer which an operator withdrew stays withdrawn.

Sources: contract/fleet.md 9.1 (settings, without that of the SSH install, and with the stale limit under the name of decision
13), 11.1 (action types, with the steps of `models.domain.fleet.instances.progress`), 15.1 (providers to models). Billing:
simulated machines to the second, as the simulated cloud's meter does; Scaleway's GPU machines to the minute and RENDER-S to
the hour (scaleway/docs-content, pages/instances/faq.mdx, "How are Instances billed?").
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.domain.fleet.provider_kinds import PROVIDER_KINDS
from models.repositories.fleet import seeds
from models.tables.fleet.catalog import ActionType, InstanceType, InstanceTypeZone, LlmModel, Provider, Region, Zone
from models.tables.installation import SettingDefinition, SettingScope, SettingType

Line = dict[str, str]
Key = tuple[UUID, str]
"""A provider's id and the code of something that it has."""


@dataclass(frozen=True)
class Host:
    """This machine, which some providers rent out: its zone, and how much memory a type may promise there."""

    zone: str
    memory_gb: int


async def seed(session: AsyncSession, host: Host) -> int:
    """Add what the catalogue lacks, in the caller's transaction (owner role). Returns how many rows were added."""
    added = 0
    for rows in (_settings(), _action_types(), _models(), _providers()):
        added += await _add(session, rows)
    for provider in _providers():
        await session.execute(
            update(Provider).where(col(Provider.code) == provider.code).values(has_adapter=provider.has_adapter)
        )
    providers = {provider.code: provider.id for provider in (await session.exec(select(Provider))).all()}
    known = await _offered(session)
    added += await _add(session, [_region(line, providers) for line in _lines("regions")])
    regions: dict[Key, UUID] = {
        (row.provider_id, row.code): row.id for row in (await session.exec(select(Region))).all()
    }
    added += await _add(session, _zones(host, providers, regions))
    added += await _add(session, [_instance_type(line, providers) for line in _lines("instance_types")])
    added += await _add(session, _links(known, await _offered(session), providers, host))
    return added


async def _add(session: AsyncSession, rows: Iterable[SQLModel]) -> int:
    """How many of these rows of one table were added: those with a key and a name that no row has. Sent together, since this
    runs at every start.
    """
    added = list(rows)
    if not added:
        return 0
    values = [row.model_dump() for row in added]
    given = {name for each in values for name, value in each.items() if value is not None}
    named = [{name: each[name] for name in given} for each in values]
    connection = await session.connection()
    return (await connection.execute(insert(type(added[0])).on_conflict_do_nothing(), named)).rowcount


@dataclass(frozen=True)
class _Offered:
    zones: Mapping[Key, UUID]
    types: Mapping[Key, UUID]


async def _offered(session: AsyncSession) -> _Offered:
    zones = (await session.exec(select(Zone))).all()
    types = (await session.exec(select(InstanceType))).all()
    return _Offered(
        {(zone.provider_id, zone.code): zone.id for zone in zones},
        {(kind.provider_id, kind.code): kind.id for kind in types},
    )


def _links(known: _Offered, now: _Offered, providers: Mapping[str, UUID], host: Host) -> Iterator[InstanceTypeZone]:
    for line in _lines("instance_types"):
        kind = (providers[line["provider"]], line["code"])
        for zone_code, price in _zones_of(line, host):
            zone = (providers[line["provider"]], zone_code)
            exist = (
                kind in now.types and zone in now.zones
            )  # a name that the operator gave to another may have kept ours out
            if exist and (kind not in known.types or zone not in known.zones):
                yield InstanceTypeZone(
                    instance_type_id=now.types[kind], zone_id=now.zones[zone], price_eur_per_hour=price
                )


def _zones_of(line: Line, host: Host) -> Iterator[tuple[str, Decimal | None]]:
    """Zones of a type, each with its price where that differs from the type's: `fr-par-1 fr-par-2=0.79`.

    A type of this machine exists in its zone when its memory does; the smallest one always exists.
    """
    if PROVIDER_KINDS.of(line["provider"]).is_on_this_machine:
        of_host = [other for other in _lines("instance_types") if other["provider"] == line["provider"]]
        smallest = min(int(other["ram_gb"]) for other in of_host)
        if int(line["ram_gb"]) <= max(host.memory_gb, smallest):
            yield host.zone, None
    for entry in line["zones"].split():
        code, _, price = entry.partition("=")
        yield code, _decimal(price)


def _settings() -> Iterator[SettingDefinition]:
    for line in _lines("settings_definitions"):
        yield SettingDefinition(
            key=line["key"],
            scope=SettingScope(line["scope"]),
            value_type=SettingType(line["value_type"]),
            min_int=_integer(line["min_int"]),
            max_int=_integer(line["max_int"]),
            default_int=_integer(line["default_int"]),
            default_bool=_flag(line["default_bool"]) if line["default_bool"] else None,
            default_text=line["default_text"] or None,
            description=line["description"],
        )


def _action_types() -> Iterator[ActionType]:
    for line in _lines("action_types"):
        base = line["colour"]
        yield ActionType(
            code=line["code"],
            label=line["label"],
            icon=line["icon"],
            color_class=f"bg-{base}-500 hover:bg-{base}-600 text-white",
            category=line["category"],
        )


def _models() -> Iterator[LlmModel]:
    for line in _lines("models"):
        yield LlmModel(
            code=line["code"],
            name=line["name"],
            model_id=line["model_id"],
            required_vram_gb=int(line["required_vram_gb"]),
            context_length=int(line["context_length"]),
            data_volume_gb=_integer(line["data_volume_gb"]),
            model_file=line["model_file"] or None,
        )


def _providers() -> Iterator[Provider]:
    for line in _lines("providers"):
        yield Provider(
            code=line["provider"],
            name=line["name"],
            description=line["description"],
            is_active=_flag(line["is_active"]),
            has_adapter=_flag(line["has_adapter"]),
        )


def _region(line: Line, providers: Mapping[str, UUID]) -> Region:
    return Region(
        provider_id=providers[line["provider"]],
        code=line["code"],
        name=line["name"],
        is_active=_flag(line["is_active"]),
    )


def _zones(host: Host, providers: Mapping[str, UUID], regions: Mapping[Key, UUID]) -> Iterator[Zone]:
    here = {"code": host.zone, "name": host.zone, "is_active": "true"}
    own = [{**here, "provider": kind.code, "region": kind.code} for kind in PROVIDER_KINDS.on_this_machine()]
    for line in (*own, *_lines("zones")):
        region = (providers[line["provider"]], line["region"])
        if region in regions:
            yield Zone(
                provider_id=region[0],
                region_id=regions[region],
                code=line["code"],
                name=line["name"],
                is_active=_flag(line["is_active"]),
            )


def _instance_type(line: Line, providers: Mapping[str, UUID]) -> InstanceType:
    return InstanceType(
        provider_id=providers[line["provider"]],
        code=line["code"],
        name=line["name"],
        gpu_count=int(line["gpu_count"]),
        vram_per_gpu_gb=int(line["vram_per_gpu_gb"]),
        cpu_count=int(line["cpu_count"]),
        ram_gb=int(line["ram_gb"]),
        bandwidth_bps=int(line["bandwidth_bps"]),
        price_eur_per_hour=_decimal(line["price_eur_per_hour"]),
        billing_increment_s=int(line["billing_increment_s"]),
        billing_minimum_s=int(line["billing_minimum_s"]),
        allocation_params={"vllm_image": line["vllm_image"]} if line["vllm_image"] else {},
    )


def _lines(name: str) -> list[Line]:
    """Those of every installation, then provider by provider, each with its `provider`."""
    found: list[Line] = []
    for folder in map(Path, seeds.__path__):
        for file in (folder / f"{name}.csv", *sorted(folder.glob(f"*/{name}.csv"))):
            of = {} if file.parent == folder else {"provider": file.parent.name}
            text = file.read_text(encoding="utf-8") if file.is_file() else ""
            found += [{**of, **line} for line in csv.DictReader(text.splitlines(), strict=True)]
    return found


def _integer(text: str) -> int | None:
    return int(text) if text else None


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text]
