"""Load on one URL from raw sockets: `python benchmarks/http_load.py PORT CONNECTIONS SECONDS REQUEST_FILE`.

Prints JSON: requests, seconds, errors, and latencies in milliseconds. Each connection sends its next request when the answer to
the last is complete. `REQUEST_FILE` holds the request, head and body, as it goes over the wire.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import cast

import uvloop


class Connection(asyncio.Protocol):
    def __init__(self, request: bytes, until_s: float) -> None:
        self._request = request
        self._until_s = until_s
        self._received = b""
        self._sent_s = 0.0
        self.latencies_s: list[float] = []
        self.errors = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not _is_complete(self._received):
            return
        self.latencies_s.append(time.perf_counter() - self._sent_s)
        self.errors += not self._received.startswith(b"HTTP/1.1 200")
        self._received = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.errors += time.perf_counter() < self._until_s
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        if self._sent_s >= self._until_s:
            self._transport.close()
        else:
            self._transport.write(self._request)


def _is_complete(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    mark = head.find(b"content-length:")
    if mark < 0:
        return answer.endswith(b"0\r\n\r\n")
    return len(answer) >= end + 4 + int(head[mark + 15 :].split(b"\r\n", 1)[0])


async def load(port: int, connections: int, seconds: float, request: bytes) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    began_s = time.perf_counter()
    opened = [
        (await loop.create_connection(lambda: Connection(request, began_s + seconds), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.wait([connection.done for connection in opened], timeout=seconds + 10)
    latencies_s = sorted(latency for connection in opened for latency in connection.latencies_s)
    return {
        "requests": len(latencies_s),
        "seconds": time.perf_counter() - began_s,
        "errors": sum(connection.errors for connection in opened),
        **{f"p{share}_ms": _percentile(latencies_s, share) * 1000 for share in (50, 95, 99)},
    }


def _percentile(ordered: list[float], share: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)] if ordered else float("nan")


if __name__ == "__main__":
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    print(json.dumps(uvloop.run(load(port, connections, seconds, Path(sys.argv[4]).read_bytes()))))
