"""Finds planted secrets and prompts in whatever a run left behind: histories as the server stores them, log files, any bytes.

A secret is searched in clear, in hex (both cases) and in base64 and base64url at each of the three alignments at which it can
lie within a longer text. `scan_*` answer with one line per find, naming the place and the form and never the secret.
"""

from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from temporalio.client import Client

SHORTEST = 8
"""Characters below which a find would mean nothing."""


def forms(secret: str) -> list[tuple[str, bytes]]:
    """Each form that the secret may take, named. Raises ValueError for a secret too short to be searched for."""
    raw = secret.encode()
    if len(raw) < SHORTEST:
        raise ValueError(f"a planted secret has at least {SHORTEST} characters")
    found = [("clear", raw), ("hex", raw.hex().encode()), ("HEX", raw.hex().upper().encode())]
    json_text = secret.encode("unicode_escape")
    if json_text != raw:
        found.append(("escaped", json_text))
    for offset in range(3):
        # The first characters also hold bits of what stands before, the last ones of what comes after: leave them out.
        padded = b64encode(b"\0" * offset + raw)
        start = (offset * 8 + 5) // 6
        end = (offset + len(raw)) * 8 // 6
        core = padded[start:end]
        found.append((f"base64 at {offset}", core))
        url = core.replace(b"+", b"-").replace(b"/", b"_")
        if url != core:
            found.append((f"base64url at {offset}", url))
    return found


def scan_bytes(content: bytes, secrets: Sequence[str], place: str = "bytes") -> list[str]:
    """One line per secret and form found in the content; secrets are named by their position in the list."""
    return [
        f"{place}: secret {number} in {name}"
        for number, secret in enumerate(secrets)
        for name, form in forms(secret)
        if form in content
    ]


def scan_files(paths: Iterable[Path], secrets: Sequence[str]) -> list[str]:
    """The same over files, and over every file below a folder."""
    finds: list[str] = []
    for path in paths:
        files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        for each in files:
            finds += scan_bytes(each.read_bytes(), secrets, str(each))
    return finds


async def scan_histories(plain_client: Client, secrets: Sequence[str], query: str = "") -> tuple[int, list[str]]:
    """The number of histories read, and the finds in them, in their memos, search attributes and summaries.

    `plain_client` has no plugin: it sees what the server stores. Assert on the number too, or a run that recorded nothing
    would pass. Listing is eventually consistent: wait for the last workflow to be listed first.
    """
    count, finds = 0, []
    async for place, content in _stored(plain_client, query):
        count += 1
        finds += scan_bytes(content, secrets, place)
    return count, finds


async def _stored(client: Client, query: str) -> AsyncIterator[tuple[str, bytes]]:
    if client.data_converter.payload_codec is not None:
        raise ValueError("the scan needs a client without a codec, or it would read decrypted payloads")
    async for execution in client.list_workflows(query):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        history = await handle.fetch_history()
        described = (await handle.describe()).raw_description.SerializeToString()
        content = b"".join(event.SerializeToString() for event in history.events)
        yield f"history {execution.id}/{execution.run_id}", execution.raw_info.SerializeToString() + described + content
