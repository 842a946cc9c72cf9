"""The lines of the inference journal: kind, checksum, JSON. A torn or altered line is recognised and left out.

o 1a2b3c4d {"id":…}     opened, before the model server is called; the whole record as far as it is known
p 1a2b3c4d {"id":…}     progress of a stream
c 1a2b3c4d {"id":…}     closed; the whole record, ready for the database
"""

from binascii import crc32
from dataclasses import dataclass
from enum import Enum


class LineKind(bytes, Enum):
    OPENED = b"o"
    PROGRESS = b"p"
    CLOSED = b"c"


@dataclass(frozen=True, slots=True)
class Line:
    kind: LineKind
    json: bytes


_KINDS = {kind.value: kind for kind in LineKind}


def encode_line(kind: LineKind, json: bytes) -> bytes:
    return b"%b %08x %b\n" % (kind, crc32(json), json)


def decode_line(line: bytes) -> Line | None:
    """None for a line that was not written whole. `line` comes without its line feed."""
    kind = _KINDS.get(line[:1])
    json = line[11:]
    if kind is None or line[1:2] != b" " or line[10:11] != b" " or line[2:10] != b"%08x" % crc32(json):
        return None
    return Line(kind, json)
