"""Checking passwords off the event loop, a few at a time: each check holds 19 MiB and a core for tens of milliseconds."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from models.base.errors import RateLimited
from models.domain.identity import passwords

Arguments = TypeVarTuple("Arguments")
Answer = TypeVar("Answer")

CONCURRENT_CHECKS = 2
WAITING_LIMIT = 32
"""More sign-ins waiting than this (about a second of work) are refused: a queue without end helps nobody."""
RESERVED_CHECKS = 1
RESERVED_WAITING_LIMIT = 8


class PasswordChecks:
    """One queue with threads of its own."""

    def __init__(self, *, at_once: int = CONCURRENT_CHECKS, waiting_limit: int = WAITING_LIMIT) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="password")
        self._waiting_limit = waiting_limit
        self._waiting = 0

    @classmethod
    def reserved(cls) -> "PasswordChecks":
        """The queue of those who signed in lately: strangers who fill the other one do not reach it."""
        return cls(at_once=RESERVED_CHECKS, waiting_limit=RESERVED_WAITING_LIMIT)

    async def verify(self, stored_hash: str | None, password: str) -> bool:
        """Whether the password is the one behind the hash; without a hash False, after the same work.

        Raises RateLimited while too many wait.
        """
        return await self._in_turn(passwords.verify_password, stored_hash, password)

    async def hash(self, password: str) -> str:
        """What is stored of a new password. Raises RateLimited while too many wait."""
        return await self._in_turn(passwords.hash_password, password)

    async def _in_turn(self, work: Callable[[*Arguments], Answer], *arguments: *Arguments) -> Answer:
        if self._waiting >= self._waiting_limit:
            raise RateLimited("too many people are signing in at once", code="SIGN_IN_BUSY", retry_after_s=2)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1

    async def start(self) -> None:
        """Make the decoy hash now: the first unknown login must not take longer than the others.

        Nothing is verified with it: what a check held would stay with each thread that ever made one.
        """
        await asyncio.get_running_loop().run_in_executor(self._threads, passwords.decoy)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
