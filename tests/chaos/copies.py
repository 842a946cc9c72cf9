"""Copies of what an installation keeps, and putting one back: each of its two memories alone, so that they are of different times."""

import asyncio
import shutil
import subprocess

from tests.chaos.installation import Installation

ENGINE = "temporal.db"


class Copies:
    """In a folder of their own, beside the home. Nothing runs on what is copied meanwhile, as in an operator's cold copy."""

    def __init__(self, installation: Installation, name: str) -> None:
        self._installation = installation
        self._folder = installation.folder.with_name(f"{installation.folder.name}-{name}")
        self._folder.mkdir()

    async def take_database(self) -> None:
        postgres = self._installation.postgres
        await self._stop_ours()
        await postgres.stop()
        await self._run("cp", "-a", str(self._installation.server.folder / "data"), str(self._folder / "data"))
        await postgres.start()
        await self._start_ours()

    async def take_engine(self) -> None:
        temporal = self._installation.temporal
        await temporal.stop()
        for file in self._installation.folder.glob(f"{ENGINE}*"):
            shutil.copy2(file, self._folder / file.name)
        await temporal.start()

    async def put_database_back(self) -> None:
        """With everything of ours stopped but the workflow engine."""
        installation = self._installation
        await self._stop_ours()
        await installation.postgres.stop()
        data = installation.server.folder / "data"
        await self._run("rm", "-r", str(data))
        await self._run("cp", "-a", str(self._folder / "data"), str(data))
        await installation.postgres.start()
        await self._start_ours()

    async def put_engine_back(self) -> None:
        """With everything of ours stopped but the database."""
        installation = self._installation
        await self._stop_ours()
        await installation.temporal.stop()
        for file in installation.folder.glob(f"{ENGINE}*"):
            file.unlink()
        for file in self._folder.glob(f"{ENGINE}*"):
            shutil.copy2(file, installation.folder / file.name)
        await installation.temporal.start()
        await self._start_ours()

    async def _stop_ours(self) -> None:
        await asyncio.gather(self._installation.api.stop(), self._installation.worker.stop())

    async def _start_ours(self) -> None:
        await asyncio.gather(self._installation.api.start(), self._installation.worker.start())

    @staticmethod
    async def _run(*command: str) -> None:
        process = await asyncio.create_subprocess_exec(*command)
        if await process.wait():
            raise subprocess.CalledProcessError(process.returncode or 1, command[0])
