"""Answers in a content coding that nobody asked for: passed on as they are, coding and all, and measured by their size."""

import aiohttp

from models.domain.inference.usage import estimated_tokens


def coding_of(response: aiohttp.ClientResponse) -> bytes:
    """The value of Content-Encoding to pass on; none for an answer that is to be read as it stands."""
    if "content-encoding" not in response.headers:
        return b""
    coding = ", ".join(response.headers.getall("content-encoding")).strip()
    return b"" if coding.lower() == "identity" else coding.encode("latin-1", "replace")


class CodedTap:
    """Reads nothing. The estimate takes each byte for a character: too few for a compressed text rather than too many."""

    usage = None
    has_failed = False

    def __init__(self) -> None:
        self._size_bytes = 0

    @property
    def output_tokens(self) -> int:
        return estimated_tokens(self._size_bytes)

    def feed(self, chunk: bytes) -> bytes:
        self._size_bytes += len(chunk)
        return chunk

    def end(self) -> bytes:
        return b""
