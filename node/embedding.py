"""Embeddings, from a model server of their own that starts with the first request for one.

llama.cpp can not mix them with generation: with several slots its mean pooling returns wrong vectors or aborts
(ggml-org/llama.cpp issue 13689), and a server that does both was seen to hang. So they get a process with one slot, and who
never asks for an embedding does not pay for it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from node.boot import Boot
from node.model_server import ModelError, ModelServer, ModelServerDied

log = logging.getLogger(__name__)


class EmbedderUnavailable(Exception):
    """The embedding server could not be started, now."""


class Embedder:
    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._server: ModelServer | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[ModelServer]:
        """The running server, for one request at a time. Raises EmbedderUnavailable."""
        async with self._turn:
            if self._server is None or not self._server.is_running:
                await self._start()
            if self._server is None:
                raise EmbedderUnavailable
            yield self._server

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop()

    async def _start(self) -> None:
        await self.stop()
        server = ModelServer(self._boot, embeddings=True)
        try:
            await server.start()
        except (ModelError, ModelServerDied) as error:
            log.warning("no embeddings: %s", error)
            raise EmbedderUnavailable from None
        except asyncio.CancelledError:
            await server.stop()
            raise
        self._server = server
