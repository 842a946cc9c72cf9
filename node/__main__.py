"""`python -m node --home DIR`: run the node agent of the machine whose boot data is in DIR/boot.json.

With `--detach` the command returns as soon as the agent holds its lock, and the agent belongs to nobody: it has a session
of its own and is no child of whoever called. Exit codes: 0 told to stop (or detached), 1 cannot serve, 2 no usable boot
data, 3 another agent is running.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from node.boot import BootError, load_boot
from node.logs import start_log
from node.open_files import allow_open_files
from node.signals import restore_signals
from node.status import Status, take_lock

log = logging.getLogger("node")

EXIT_FAILED = 1
EXIT_NO_BOOT_DATA = 2
EXIT_RUNNING_ALREADY = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m node", description="The node agent of one served machine.")
    parser.add_argument("--home", type=Path, required=True, help="the machine's folder, with boot.json in it")
    parser.add_argument("--detach", action="store_true", help="return once the agent runs on its own")
    options = parser.parse_args()
    home: Path = options.home.resolve()
    restore_signals()
    if options.detach:
        return _detach(home)
    return _run(home, ready=None)


def _detach(home: Path) -> int:
    """Fork, and answer with what the child says through a pipe: one byte, its exit code so far."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        said = os.read(reading, 1)
        return said[0] if said else EXIT_FAILED
    os.close(reading)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # no terminal hangs up on a session of its own
    code = _run(home, ready=writing)
    logging.shutdown()
    os._exit(code)


def _run(home: Path, *, ready: int | None) -> int:
    os.umask(0o077)
    lock = take_lock(home)
    if lock is None:
        sys.stderr.write("another agent is running in this folder\n")
        return _say(ready, EXIT_RUNNING_ALREADY)
    allow_open_files()
    start_log(home, adopt_standard_streams=ready is not None)
    try:
        boot = load_boot(home)
    except BootError as error:
        log.error("%s", error)  # noqa: TRY400 - one line: the cause is the file, not this code
        return _say(ready, EXIT_NO_BOOT_DATA)
    status = Status(home, generation=boot.generation, machine_key=boot.machine_key)
    _say(ready, 0)
    try:
        from node.agent import Agent  # noqa: PLC0415 - the lock is taken before the slow imports

        return asyncio.run(Agent(home, boot, status).run())
    except Exception as error:
        log.exception("the agent broke")
        status.enter("failed", error=f"the agent broke: {type(error).__name__}")
        return EXIT_FAILED


def _say(ready: int | None, code: int) -> int:
    if ready is not None:
        os.write(ready, bytes([code]))
        os.close(ready)
    return code


if __name__ == "__main__":
    sys.exit(main())
