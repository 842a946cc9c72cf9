"""Following a provider's pages: each machine once, and an end to whatever has none."""

from collections.abc import AsyncIterator, Sequence

import pytest

from activities.fleet import machine_pages
from activities.fleet.machine_pages import pages_of_machines
from models.base.clock import utc_now
from models.base.errors import ProviderError
from models.base.ids import new_id
from models.ports.compute import Machine, MachinesPage, MachineState
from tests.fakes.compute import FakeCompute

NOW = utc_now()


def machines(*names: str) -> list[Machine]:
    return [
        Machine(
            provider_instance_id=name,
            name=name,
            zone="a",
            instance_type="t",
            state=MachineState.RUNNING,
            created_at=NOW,
        )
        for name in names
    ]


class Scripted(FakeCompute):
    """Gives these pages, the last one for ever; remembers what it was asked."""

    def __init__(self, pages: Sequence[MachinesPage]) -> None:
        super().__init__()
        self._pages, self.cursors = list(pages), list[str | None]()

    async def page_of_machines(self, installation_id: object, cursor: str | None = None) -> MachinesPage:
        self.cursors.append(cursor)
        return self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]


class Endless(FakeCompute):
    """Empty pages, each with a cursor of its own."""

    async def page_of_machines(self, installation_id: object, cursor: str | None = None) -> MachinesPage:
        self.calls.append("page")
        return MachinesPage(machines=[], next_cursor=f"{len(self.calls)}")


async def names(pages: AsyncIterator[MachinesPage]) -> list[str]:
    return [machine.provider_instance_id async for page in pages for machine in page.machines]


async def test_pages_are_followed_and_an_empty_one_is_no_end() -> None:
    compute = Scripted(
        [
            MachinesPage(machines=machines("a", "b"), next_cursor="2"),
            MachinesPage(machines=[], next_cursor="3"),
            MachinesPage(machines=machines("b", "c")),
        ]
    )
    assert await names(pages_of_machines(compute, new_id())) == ["a", "b", "c"]
    assert compute.cursors == [None, "2", "3"]


@pytest.mark.parametrize("cursors", [("again", "again"), ("2", "3")], ids=["the same cursor", "another cursor"])
async def test_a_page_that_comes_again_is_an_error(cursors: tuple[str, str]) -> None:
    compute = Scripted([MachinesPage(machines=machines("a"), next_cursor=cursor) for cursor in cursors])
    with pytest.raises(ProviderError) as failure:
        await names(pages_of_machines(compute, new_id()))
    assert failure.value.code == "PROVIDER_LIST_ENDLESS"
    assert len(compute.cursors) == 2


async def test_pages_of_nothing_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_pages, "MOST_PAGES", 10)
    compute = Endless()
    with pytest.raises(ProviderError, match="no end"):
        await names(pages_of_machines(compute, new_id()))
    assert len(compute.calls) == 10
