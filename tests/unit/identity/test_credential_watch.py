"""Whoever hangs on a token is told of its end, whatever ends it, and as long as it hangs on it only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.security import credential_watch
from api.security.credential_watch import CredentialWatch
from models.base.errors import AppError, ServiceUnavailable, Unauthenticated
from tests.patience import GIVE_UP_S


class Tokens:
    """What is wrong with which; `change` is a change of any."""

    def __init__(self) -> None:
        self.wrong: dict[str, AppError] = {}
        self.change = asyncio.Event()

    async def changed(self) -> None:
        await self.change.wait()
        self.change.clear()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
async def watch(tokens: Tokens) -> AsyncIterator[CredentialWatch]:
    watch = CredentialWatch(tokens.wrong.get)
    task = asyncio.create_task(watch.run(tokens.changed))
    yield watch
    task.cancel()


async def told(heard: list[AppError]) -> AppError:
    async with asyncio.timeout(GIVE_UP_S):
        while not heard:
            await asyncio.sleep(0.01)
    return heard[0]


async def test_a_change_is_heard_and_others_hear_nothing(
    watch: CredentialWatch, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(credential_watch, "CHECK_S", 3600.0)
    mine, again, theirs = list[AppError](), list[AppError](), list[AppError]()
    with watch.watched("a", mine.append), watch.watched("a", again.append), watch.watched("b", theirs.append):
        await asyncio.sleep(0)
        tokens.wrong["a"] = Unauthenticated("revoked")
        tokens.change.set()
        assert await told(mine) is await told(again)
        assert theirs == []


@pytest.mark.parametrize("error", [Unauthenticated("its time is over"), ServiceUnavailable("nobody knows")])
async def test_an_end_that_nobody_tells_is_found(watch: CredentialWatch, tokens: Tokens, error: AppError):
    assert credential_watch.CHECK_S + credential_watch.SPACING_S < 1, "contract decision 6"
    heard = list[AppError]()
    with watch.watched("a", heard.append):
        tokens.wrong["a"] = error
        assert await told(heard) is error


async def test_what_is_wrong_already_is_told_at_once(watch: CredentialWatch, tokens: Tokens):
    tokens.wrong["a"] = Unauthenticated("revoked")
    heard = list[AppError]()
    with watch.watched("a", heard.append):
        assert heard == [tokens.wrong["a"]]


async def test_whoever_has_gone_hears_nothing_and_nothing_is_kept(watch: CredentialWatch, tokens: Tokens):
    heard = list[AppError]()
    with watch.watched("a", heard.append):
        pass
    tokens.wrong["a"] = Unauthenticated("revoked")
    watch.look()
    assert heard == []
    assert watch._watched == {}
