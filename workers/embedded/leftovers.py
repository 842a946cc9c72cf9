"""What a supervisor that was killed left running. Linux ends most of it by itself; this finds the rest, before every start."""

import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from workers.embedded.home import Home, place_from, place_of, read_record
from workers.embedded.processes import ProcessIdentity, end

TIMEOUT_S = 4.0


def identity_from(record: object) -> ProcessIdentity | None:
    """The process of a record as `up` writes it; None for one that is not."""
    if not isinstance(record, Mapping):
        return None
    try:
        return ProcessIdentity(int(record["pid"]), str(record["started"]), tuple(map(str, record["argv"])))
    except (KeyError, TypeError, ValueError):
        return None


def recorded_parts(home: Home) -> list[Mapping[str, object]]:
    """What `up` wrote of its parts. Of a home that was copied: what that of the original wrote."""
    return _parts(read_record(home) or {})


def end_leftovers(home: Home) -> list[str]:
    """The names of the parts that still ran; they are gone now. Call it only while holding the lock of the home.

    A process counts only with the recorded start time and command line: its number may be anybody's by now. It counts only in a
    record of this very folder: that of a copy names what the original has running.
    """
    record = read_record(home) or {}
    recorded_of = place_from(record.get("home"))
    if recorded_of is None or not recorded_of.is_same_folder(place_of(home.path)):
        return []
    found = [(part, identity_from(part.get("process"))) for part in _parts(record)]
    alive = [(part, identity) for part, identity in found if identity is not None and identity.find() is not None]
    if not alive:
        return []
    with ThreadPoolExecutor(len(alive)) as pool:
        ended = pool.map(lambda pair: end(pair[1], _stop_signal(pair[0]), TIMEOUT_S), alive)
    return [str(part.get("name")) for (part, _), was_running in zip(alive, ended, strict=True) if was_running]


def _parts(record: Mapping[str, object]) -> list[Mapping[str, object]]:
    parts = record.get("parts")
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []


def _stop_signal(part: Mapping[str, object]) -> signal.Signals:
    number = part.get("stop_signal")
    return signal.Signals(number) if isinstance(number, int) else signal.SIGTERM
