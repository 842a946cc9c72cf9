"""Lists of a cloud that lies: strangers among ours, pages that come again, a machine without a tag. The `mock` adapter alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import httpx
import pytest
from pydantic import SecretStr

from activities.adapters.mock import CloudClient, MockCompute
from activities.adapters.mock.adapter import INSTALLATION_TAG, INSTANCE_TAG
from models.base.errors import ProviderError
from models.base.ids import new_id

OURS = new_id()
Page = Mapping[str, object]


def machine(number: int, *tags: str) -> dict[str, object]:
    return {
        "id": f"sim-{number}", "name": f"machine {number}", "zone": "local", "type": "sim-l4-1-24g", "status": "ACTIVE",
        "tags": list(tags), "created_at": "2026-11-26T12:00:00Z", "price_eur_per_hour": "0.75",
    }  # fmt: skip


def ours(number: int) -> dict[str, object]:
    return machine(number, f"{INSTALLATION_TAG}{OURS}", f"{INSTANCE_TAG}{new_id()}")


def lying(pages: Sequence[Page]) -> MockCompute:
    """A cloud that answers every list with these pages, whatever was asked for; the last one for ever."""
    left = list(pages)

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=left.pop(0) if len(left) > 1 else left[0])

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return MockCompute(CloudClient(http, base_url="http://cloud.invalid", token=SecretStr("t")))


async def test_what_does_not_carry_our_tag_is_counted_and_left_out() -> None:
    stranger = machine(3, f"{INSTALLATION_TAG}{new_id()}", f"{INSTANCE_TAG}{new_id()}")
    shown = [
        ours(1),
        machine(2),
        stranger,
        machine(4, f"{INSTALLATION_TAG}{OURS}"),
        machine(5, f"{INSTALLATION_TAG}{OURS}x"),
    ]
    page = await lying([{"instances": shown, "next_cursor": None}]).page_of_machines(OURS)
    assert [one.provider_instance_id for one in page.machines] == ["sim-1", "sim-4"]
    assert page.machines[1].instance_id is None, "ours, of an instance that it does not name"
    assert page.foreign == 3


async def test_a_removal_is_shown_nothing_that_is_not_of_its_instance() -> None:
    """`find` is what is deleted."""
    other = ours(1)
    compute = lying([{"instances": [other, machine(2)], "next_cursor": None}])
    assert await compute.find(OURS, new_id()) == []
    assert await compute.list_machines(new_id(), "local") == []


@pytest.mark.parametrize("look", ["find", "list_machines"])
async def test_a_list_without_an_end_is_an_error(look: str) -> None:
    compute = lying([{"instances": [ours(1)], "next_cursor": "1"}])
    with pytest.raises(ProviderError) as failure:
        await (compute.find(OURS, new_id()) if look == "find" else compute.list_machines(OURS, "local"))
    assert failure.value.code == "PROVIDER_LIST_ENDLESS"
