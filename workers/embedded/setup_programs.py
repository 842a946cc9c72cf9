"""The programs that run once, to their end, before the parts that need what they make: `migrate` and `bootstrap`."""

import asyncio

from workers.embedded import processes
from workers.embedded.errors import StartError
from workers.embedded.processes import ProcessSpec
from workers.embedded.supervisor import not_ready

SETUP_TIMEOUT_S = 120.0


async def set_up(spec: ProcessSpec) -> str:
    """Runs the program to its end. Returns what it printed, which is for the terminal and not for a log.

    Raises StartError when it fails, NotReady when it does not come to an end.
    """
    with spec.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *spec.owned_argv(), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
            cwd=spec.cwd, env=dict(spec.env), start_new_session=True,
        )  # fmt: skip
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), SETUP_TIMEOUT_S)
    except TimeoutError:
        raise not_ready(spec.name, SETUP_TIMEOUT_S, spec) from None
    finally:
        if process.returncode is None:
            processes.kill_group(process.pid)
            await process.wait()
    if process.returncode != 0:
        raise StartError(f"{spec.name} failed: {processes.last_line(spec.log)} (see {spec.log})")
    return printed.decode(errors="replace")
