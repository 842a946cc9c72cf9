"""How long a test waits for something that has to happen. Nothing is judged by it: a machine may be as busy as it likes."""

from typing import Final

GIVE_UP_S: Final = 50.0
"""Below the time-out of pytest, so that the wait says what did not happen. How fast it happened, `make bench` measures."""

OF_A_STACK_S: Final = 4 * GIVE_UP_S
"""For what takes many such steps, one after the other: a whole stack starts, a model is loaded and serves."""
