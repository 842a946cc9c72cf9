"""The least that an ASGI proxy can do: `python benchmarks/bare_proxy.py PORT UPSTREAM_URL`.

uvicorn and uvloop before it, aiohttp's client behind it; the body goes up and the answer comes down. No authentication, no
choice, no record: what ours costs beyond this is what it does.
"""

import sys
from typing import Any

import aiohttp
import uvicorn


class BareProxy:
    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._upstream + scope["path"], data=body, headers=headers) as response:
            answer = await response.read()
            start = [
                (b"content-type", response.headers["content-type"].encode()),
                (b"content-length", b"%d" % len(answer)),
            ]
            await send({"type": "http.response.start", "status": response.status, "headers": start})
            await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(
        BareProxy(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off",
        access_log=False, log_level="warning",
    )  # fmt: skip
