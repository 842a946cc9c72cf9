"""What the word of an agent that registers comes to (contract decisions 9 and 10)."""

import pytest

from models.base.errors import Conflict
from models.domain.fleet.instances.registration import Boot, check_model, edge_of
from models.domain.fleet.instances.state import Edge


@pytest.mark.parametrize(
    ("announced", "known", "edge"),
    [
        (Boot(1, "x"), None, Edge.REGISTERED),
        (Boot(1, None), None, Edge.REGISTERED),
        (Boot(1, "x"), Boot(1, "x"), None),
        (Boot(1, None), Boot(1, "x"), None),  # it cannot tell: no proof of a reboot
        (Boot(1, "y"), Boot(1, "x"), Edge.REBOOTED),
        (Boot(2, "x"), Boot(1, "x"), Edge.REGISTERED),
        (Boot(2, "y"), Boot(1, "x"), Edge.REGISTERED),
    ],
)
def test_what_the_owner_hears(announced: Boot, known: Boot | None, edge: Edge | None) -> None:
    assert edge_of(announced, known) is edge


def test_a_model_is_announced_as_it_was_given_or_not_at_all() -> None:
    check_model("given", given="given")
    check_model(None, given="given")
    for given in ("another", None):
        with pytest.raises(Conflict) as refused:
            check_model("given", given=given)
        assert refused.value.code == "MODEL_MISMATCH"
