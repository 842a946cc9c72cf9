"""Parsing in small pieces: so many bytes in a turn of the loop, whoever sent them. Who sends much waits; nobody else does."""

import asyncio
from collections import deque
from collections.abc import Callable

Step = Callable[[int], int]
"""Takes so many bytes at most; returns how many it took."""


class Turns:
    """Of one loop. Steps are taken in the order in which they were asked for, at once where the turn has bytes left."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bytes_of_turn: int) -> None:
        self._loop, self._bytes_of_turn, self._left_bytes = loop, bytes_of_turn, bytes_of_turn
        self._waiting: deque[Step] = deque()
        self._next: asyncio.Handle | None = None
        self._is_taking = False

    def ask(self, step: Step) -> None:
        """Also from within a step, for the next one."""
        self._waiting.append(step)
        if not self._is_taking:
            self._take()

    def _begin(self) -> None:
        self._next, self._left_bytes = None, self._bytes_of_turn
        self._take()

    def _take(self) -> None:
        self._is_taking = True
        try:
            while self._waiting and self._left_bytes > 0:
                self._left_bytes -= self._waiting.popleft()(self._left_bytes)
        finally:
            self._is_taking = False
            if self._next is None and (self._waiting or self._left_bytes < self._bytes_of_turn):
                self._next = self._loop.call_soon(self._begin)
