"""Where objects lie: a folder, or a bucket of S3. It knows keys and bytes, and nothing of whose they are.

obstore is called from threads: the asynchronous half of it holds objects of Python when the interpreter ends, which then aborts
(0.12, seen with lists and failed writes). A thread is awaited, whoever is cancelled meanwhile.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from models.base.durable import flush_folder
from models.base.errors import ServiceUnavailable
from models.settings import Settings
from models.settings.derived import blobs_dir

if TYPE_CHECKING:
    from obstore.store import ObjectStore, S3Config

CALLS_AT_ONCE: Final = 4
CHUNK_BYTES: Final = 1 << 20
CONNECT_TIMEOUT_S, CALL_TIMEOUT_S, RETRIES, RETRY_FOR_S = 5, 25, 2, 20

Given = TypeVar("Given")


@dataclass(frozen=True, slots=True)
class Listed:
    key: str
    modified_at: datetime


class BlobStore:
    """Nothing is opened before it is used. Every method raises ServiceUnavailable where the store does not answer, or is full."""

    def __init__(self, open_store: Callable[[], "ObjectStore"], folder: Path | None = None) -> None:
        """`folder`: where the objects are files, which are flushed to the disk before a write counts."""
        self._open, self._folder = open_store, folder
        self._opened: ObjectStore | None = None
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="blobs")

    @property
    def may_have_objects(self) -> bool:
        """False for a folder that nobody has written to."""
        return self._folder is None or self._folder.exists()

    def close(self) -> None:
        self._threads.shutdown()

    async def put(self, key: str, file: IO[bytes]) -> None:
        """All of the file, or no object."""
        await self._call(self._put, key, file)

    async def has(self, key: str) -> bool:
        return await self._call(self._has, key)

    async def read(self, key: str) -> AsyncIterator[bytes] | None:
        """The bytes, in pieces of about CHUNK_BYTES; None where there is no such object."""
        pieces = await self._call(self._read, key)
        if pieces is None:
            return None

        async def all_of_them() -> AsyncIterator[bytes]:
            while (piece := await self._call(next, pieces, None)) is not None:
                yield bytes(piece)

        return all_of_them()

    async def delete(self, key: str) -> None:
        """It is gone, whether or not it was there."""
        await self._call(self._delete, key)

    async def listed(self, prefix: str) -> AsyncIterator[list[Listed]]:
        """Every object below `prefix`, page by page."""
        pages = await self._call(self._pages, prefix)
        while (page := await self._call(next, pages, None)) is not None:
            yield [Listed(str(one["path"]), one["last_modified"]) for one in page]

    async def _call(self, function: Callable[..., Given], *arguments: Any) -> Given:
        from obstore.exceptions import BaseError  # noqa: PLC0415  (a library of 20 MB, for who has blobs)

        working = asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait([working])
            working.exception()
            raise
        except (BaseError, OSError) as error:
            raise ServiceUnavailable(
                f"the store of blobs does not answer as it should ({type(error).__name__})", code="BLOBS_UNAVAILABLE"
            ) from None

    @property
    def _store(self) -> "ObjectStore":
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _put(self, key: str, file: IO[bytes]) -> None:
        import obstore  # noqa: PLC0415  (as above)

        file.seek(0)
        obstore.put(self._store, key, file)
        if self._folder is not None:
            path = self._folder / key
            with path.open("rb") as written:
                os.fsync(written.fileno())
            for each in (path.parent, *path.parent.parents):
                flush_folder(each)
                if each == self._folder:
                    break

    def _has(self, key: str) -> bool:
        import obstore  # noqa: PLC0415  (as above)

        try:
            obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def _read(self, key: str) -> Iterator[Any] | None:
        import obstore  # noqa: PLC0415  (as above)

        try:
            return iter(obstore.get(self._store, key).stream(min_chunk_size=CHUNK_BYTES))
        except FileNotFoundError:
            return None

    def _delete(self, key: str) -> None:
        import obstore  # noqa: PLC0415  (as above)

        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return

    def _pages(self, prefix: str) -> Iterator[Any]:
        import obstore  # noqa: PLC0415  (as above)

        return iter(obstore.list(self._store, prefix))


def blob_store(settings: Settings) -> BlobStore:
    """As QUARTERDECK_BLOB_URL says."""
    if settings.blob_url is None:
        folder = blobs_dir(settings)
        return BlobStore(lambda: _folder_store(folder), folder)
    return BlobStore(lambda: _s3_store(settings))


def _folder_store(folder: Path) -> "ObjectStore":
    from obstore.store import LocalStore  # noqa: PLC0415  (as above)

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return LocalStore(folder)


def _s3_store(settings: Settings) -> "ObjectStore":
    from obstore.store import S3Store  # noqa: PLC0415  (as above)

    config: S3Config = {}
    if settings.blob_endpoint is not None:
        config["endpoint"] = settings.blob_endpoint
    if settings.blob_region is not None:
        config["region"] = settings.blob_region
    if settings.blob_access_key_id is not None and settings.blob_secret_access_key is not None:
        config["access_key_id"] = settings.blob_access_key_id
        config["secret_access_key"] = settings.blob_secret_access_key.get_secret_value()
    return S3Store.from_url(
        str(settings.blob_url),
        config=config,
        client_options={
            "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
            "timeout": timedelta(seconds=CALL_TIMEOUT_S),
            "allow_http": (settings.blob_endpoint or "").startswith("http://"),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_FOR_S)},
    )
