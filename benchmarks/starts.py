"""Starting and stopping, as a person waits for it: `python -m benchmarks.starts`.

`quarterdeck --help`, beside a Python that does nothing, which is what it can cost at the least. `quarterdeck up` in a new home,
from nothing to ready, and from Ctrl-C to nothing. A served model after a power cut: the stack, its agent and its model server
are killed at one moment, then from the start of `up` to an answer of the model.

Limits (exit 1 where one is missed): 400 ms for the help at the median, 20 s for the first start, 10 s for the stop, 30 s for the
answer after a power cut.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.limits import at_most, conclude, options
from tests.embedded.driver import environment, forget, started
from tests.embedded.person import Person
from tests.embedded.power_cut import cut_the_power
from workers.embedded.fleet.instances import end_instances
from workers.embedded.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
MOST_HELP_MS = 400.0
MOST_FIRST_START_S = 20.0
MOST_STOP_S = 10.0
MOST_BACK_S = 30.0
GIVE_UP_S = 120.0
PORTS = ("API_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "SIMCLOUD_PORT")


def main() -> int:
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    help_ms: list[float] = []
    bare_ms: list[float] = []
    for _ in range(chosen.rounds):
        help_ms.append(_took_ms("-m", "cli", "--help"))
        bare_ms.append(_took_ms("-c", "pass"))
    start_s, stop_s = _up_and_down()
    back_s = _back_after_a_power_cut()
    figures = {
        "quarterdeck --help (ms)": statistics.median(help_ms),
        "python that does nothing (ms)": statistics.median(bare_ms),
        "first start (s)": start_s,
        "stop (s)": stop_s,
        "answer after a power cut (s)": back_s,
    }
    for name, value in figures.items():
        print(f"{name:40}{value:10,.2f}")
    limits = [
        at_most("quarterdeck --help (ms)", figures["quarterdeck --help (ms)"], MOST_HELP_MS),
        at_most("first start of `quarterdeck up` (s)", start_s, MOST_FIRST_START_S),
        at_most("stop of `quarterdeck up` (s)", stop_s, MOST_STOP_S),
        at_most("answer of a served model after a power cut (s)", back_s, MOST_BACK_S),
    ]
    return conclude({"figures": figures}, limits, chosen.json)


def _took_ms(*arguments: str) -> float:
    began_s = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, timeout=GIVE_UP_S, check=True)
    return (time.perf_counter() - began_s) * 1000


def _up_and_down() -> tuple[float, float]:
    """Seconds from nothing to ready, and from Ctrl-C to nothing."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as folder:
        Path(folder).chmod(0o711)  # for root: on the way to PostgreSQL's folder
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("QUARTERDECK_")},
            "QUARTERDECK_HOME": f"{folder}/home",
            "PYTHONPATH": str(ROOT),
            **{f"QUARTERDECK_{name}": str(free_port()) for name in PORTS},
        }
        command = [sys.executable, "-m", "workers", "up"]
        began_s = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            if not any("is ready after" in line for line in process.stdout):
                raise SystemExit("quarterdeck up did not become ready")
            ready_s = time.perf_counter()
            process.send_signal(signal.SIGINT)
            stopping_s = time.perf_counter()
            process.stdout.read()
            process.wait(GIVE_UP_S)
            return ready_s - began_s, time.perf_counter() - stopping_s
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(GIVE_UP_S)


def _back_after_a_power_cut() -> float:
    """Seconds from the start of `up` to the model's answer."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        env = environment(home)
        try:
            with started(home, "ours", env=env) as run:
                run.wait_until_ready()
                with Person(home) as person:
                    person.deploy()
                    person.until_answered(GIVE_UP_S)
                cut_the_power(run)
            began_s = time.perf_counter()
            with started(home, "ours", env=env), Person(home) as person:
                person.until_answered(GIVE_UP_S)
                return time.perf_counter() - began_s
        finally:
            end_instances(home / "instances")
            forget(home)


if __name__ == "__main__":
    sys.exit(main())
