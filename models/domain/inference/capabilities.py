"""What a model can do where it runs, as the agents of its instances tell it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ABILITIES = ("tools", "vision", "audio")
LONGEST_MODEL_LEN = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`can` are the abilities that it says it has, `cannot` those that it says it has not. Length in tokens."""

    can: frozenset[str] = frozenset()
    cannot: frozenset[str] = frozenset()
    max_model_len: int | None = None

    def as_openai(self) -> dict[str, bool]:
        """The object `capabilities` of a model. What nobody tells is left out."""
        return {name: name in self.can for name in ABILITIES if name in self.can or name in self.cannot}


UNKNOWN = Capabilities()


def reported_capabilities(report: object) -> Capabilities:
    """From an agent's report, of which nothing is believed that is not of its kind. An older agent reports none."""
    if not isinstance(report, Mapping):
        return UNKNOWN
    length = report.get("max_model_len")
    is_length = isinstance(length, int) and not isinstance(length, bool) and 0 < length <= LONGEST_MODEL_LEN
    return Capabilities(
        can=frozenset(name for name in ABILITIES if report.get(name) is True),
        cannot=frozenset(name for name in ABILITIES if report.get(name) is False),
        max_model_len=length if is_length else None,
    )


def common(of_instances: Iterable[Capabilities]) -> Capabilities:
    """Of one model on several instances, any of which may be asked: what one of them cannot, and none can, it cannot."""
    each = list(of_instances)
    can = frozenset().union(*(one.can for one in each))
    cannot = frozenset().union(*(one.cannot for one in each)) - can
    lengths = [one.max_model_len for one in each if one.max_model_len is not None]
    return Capabilities(can, cannot, min(lengths, default=None))
