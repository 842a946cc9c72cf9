"""`python -m workers worker`: one worker process. Without options it serves every queue that needs no credentials."""

import argparse
import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine, Sequence
from datetime import timedelta

import uvloop
from temporalio.client import Client
from temporalio.worker import Worker

from activities.runtime.logs import configure_logging
from activities.runtime.runs import know_runs
from models.base.open_files import allow_open_files
from models.base.signals import restore_signals
from models.base.version import VERSION
from models.settings import Settings, load_settings
from models.settings.derived import check_home
from workers.composition import compose, queues
from workers.embedded.errors import StartError
from workers.family import QueueRegistration, WorkerObjects
from workers.namespace import claim_namespace, installation
from workers.provoked_lines import few_provoked_lines
from workers.readiness import announce_ready
from workers.registry import FAMILIES, QUEUES, interceptors, standing_of
from workers.standing import keep_standing

logger = logging.getLogger(__name__)

GRACEFUL_SHUTDOWN = timedelta(seconds=3)
STICKY_TIMEOUT = timedelta(seconds=2)
"""How long a workflow's next task waits for the process that knows it: after a kill it goes to another one so soon."""


def main(arguments: Sequence[str]) -> int:
    """Runs until it is stopped. Raises StartError, TemporalUnreachable, SettingsError when it cannot run here."""
    parser = argparse.ArgumentParser(prog="quarterdeck worker", description=__doc__)
    parser.add_argument("--provider", action="append", default=[], help="serve this provider's queue")
    parser.add_argument("--queues", default="", help=f"comma list of {', '.join(QUEUES)}")
    options = parser.parse_args(arguments)
    names = {*options.provider, *(name.strip() for name in options.queues.split(",") if name.strip())}
    unknown = names.difference(QUEUES)
    if unknown:
        raise StartError(f"no such queue or provider: {', '.join(sorted(unknown))}; known: {', '.join(QUEUES)}")
    settings = load_settings()
    check_home(settings)
    restore_signals()
    allow_open_files()
    configure_logging(settings.log_level)
    return uvloop.run(_run(settings, names))


async def _run(settings: Settings, names: set[str]) -> int:
    stop = asyncio.Event()
    for received in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(received, stop.set)
    async with few_provoked_lines(), compose(settings) as objects:
        if not await _until(stop, _claim(objects)):
            return 0
        registrations = queues(objects, names)
        async with contextlib.AsyncExitStack() as stack:
            for registration in registrations:
                await stack.enter_async_context(make_worker(objects.client, registration))
            background = _begin_background(objects, registrations)
            announce_ready()
            logger.info("serving %s", ", ".join(registration.queue for registration in registrations))
            await _until_stopped(stop, background)
    return 0


async def _claim(objects: WorkerObjects) -> None:
    ours = await installation(objects.databases.activities)
    await claim_namespace(objects.client, ours.id)
    know_runs(objects.client, ours.payloads_bound_since)


async def _until(stop: asyncio.Event, work: Coroutine[object, object, None]) -> bool:
    """Whether the work came to its end before we were told to stop. Raises what it raises."""
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:
        for task in (working, stopped):
            task.cancel()
        await asyncio.gather(working, stopped, return_exceptions=True)


def _begin_background(objects: WorkerObjects, registrations: Sequence[QueueRegistration]) -> list[asyncio.Task[None]]:
    """What families have running beside their workflows; each queue has standing workflows of its own, or none."""
    served = {workflow for registration in registrations for workflow in registration.workflows}
    work = [
        (name, begin(objects))
        for family in FAMILIES
        if not served.isdisjoint(family.workflows)
        for name, begin in family.background.items()
    ]
    standing = standing_of(registration.queue for registration in registrations)
    if standing:
        work.append(("standing workflows", keep_standing(objects.client, standing)))
    return [asyncio.create_task(each, name=name) for name, each in work]


async def _until_stopped(stop: asyncio.Event, background: Sequence[asyncio.Task[None]]) -> None:
    """Returns when told to stop. A background task that ends before takes the process with it: the supervisor restarts it."""
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _pending = await asyncio.wait([stopped, *background], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (stopped, *background):
            task.cancel()
        await asyncio.gather(stopped, *background, return_exceptions=True)


def make_worker(client: Client, registration: QueueRegistration) -> Worker:
    """A worker for one queue, with the plugin of its client."""
    slots = registration.slots
    return Worker(
        client,
        task_queue=registration.queue,
        build_id=VERSION,  # for people: without one the SDK hashes the code of every loaded module at each start
        workflows=list(registration.workflows),
        activities=list(registration.activities),
        interceptors=interceptors(),
        max_concurrent_workflow_tasks=slots.workflow_tasks if registration.workflows else None,
        max_concurrent_activities=slots.activities,
        max_cached_workflows=slots.cached_workflows if registration.workflows else 0,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )
