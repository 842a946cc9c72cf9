"""A part is kept running for ever once it was ready, whatever comes in between; before that, what never will be is given up."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.patience import GIVE_UP_S
from workers.embedded import supervisor
from workers.embedded.errors import NotReady, StartError
from workers.embedded.processes import ProcessSpec
from workers.embedded.supervisor import Part, PartState, SupervisedPart

STAYS, ENDS = "exec sleep 600", "echo no such thing; sleep 0.2; exit 1"


def spec(folder: Path, script: str) -> ProcessSpec:
    return ProcessSpec("test", ("/bin/sh", "-c", script), folder / "test.log", folder, {"PATH": "/usr/bin:/bin"})


@asynccontextmanager
async def supervised(
    prepare: Callable[[], ProcessSpec], is_ready: Callable[[], bool] = lambda: True
) -> AsyncIterator[SupervisedPart]:
    part = SupervisedPart(Part("test", prepare, is_ready), lambda: None)
    try:
        yield part
    finally:
        await part.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), StartError("no"), ValueError("never")])
async def test_one_that_was_ready_is_started_again_whatever_keeps_it_from_starting(
    tmp_path: Path, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LONGEST_RESTART_AFTER_S", 0.05)
    failures: list[Exception] = []

    def prepare() -> ProcessSpec:
        if failures:
            raise failures.pop()
        return spec(tmp_path, STAYS)

    async with supervised(prepare) as part:
        await part.start()
        failures += [failure] * 8
        part.kill()
        await until(lambda: not failures and part.state is PartState.READY)
        assert part.restarts == 9


async def test_what_hangs_is_given_more_time_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL that reads a long log after a crash would never come to its end otherwise."""
    monkeypatch.setattr(supervisor, "READY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(supervisor, "LONGEST_RESTART_AFTER_S", 0.05)
    patience: list[float] = []
    hangs = False

    async with supervised(lambda: spec(tmp_path, STAYS), lambda: not hangs) as part:
        await part.start()
        hangs = True
        part.kill()
        await until(lambda: part.restarts == 1)
        for restarts in range(2, 5):
            patience.append(part._patience_s)
            await until(lambda restarts=restarts: part.restarts >= restarts)  # type: ignore[misc]
        hangs = False
        await until(lambda: part.state is PartState.READY)
        assert part._patience_s == 0.1
    assert patience == [0.1, 0.2, 0.4]


async def test_a_life_that_was_never_ready_settles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it lasts: three of them, and it is given up."""
    monkeypatch.setattr(supervisor, "SETTLED_AFTER_S", 0.05)
    async with supervised(lambda: spec(tmp_path, ENDS), lambda: False) as part:
        with pytest.raises(StartError, match="test does not start: no such thing"):
            await part.start()
        assert part.restarts == 2


async def test_one_that_is_never_ready_is_given_up_with_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not killed before: a busy machine is slow."""
    monkeypatch.setattr(supervisor, "GIVE_UP_AFTER_S", 2.0)
    monkeypatch.setattr(supervisor, "READY_TIMEOUT_S", 0.1)
    async with supervised(lambda: spec(tmp_path, f"echo one; echo two; {STAYS}"), lambda: False) as part:
        with pytest.raises(NotReady) as raised:
            await part.start()
        assert str(raised.value).splitlines() == [
            f"test is not ready after 2 s; the end of {tmp_path / 'test.log'}:",
            "  one",
            "  two",
        ]
        assert part.restarts == 0


@contextmanager
def hanging() -> Iterator[Callable[[], bool]]:
    """A probe that answers nothing inside the block."""
    released = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        yield lambda: asyncio.run_coroutine_threadsafe(released.wait(), loop).result()
    finally:
        released.set()


async def test_a_probe_that_does_not_answer_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "GIVE_UP_AFTER_S", 1.0)
    with hanging() as probe:
        async with supervised(lambda: spec(tmp_path, STAYS), probe) as part:
            with pytest.raises(NotReady):
                await part.start()


async def test_the_end_of_a_process_is_noticed_while_a_probe_hangs(tmp_path: Path) -> None:
    with hanging() as probe:
        async with supervised(lambda: spec(tmp_path, ENDS), probe) as part:
            with pytest.raises(StartError, match="test does not start"):
                await part.start()
