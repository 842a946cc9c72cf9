"""Every patch of the workflows: what runs that are older than its date go on doing as before.

An id is the date and the stem of the change. It goes when no run from before it can be open any more; a recorded history that
needs it is withdrawn by its name.
"""

from typing import Final

LOOK_AFTER_REFUSAL: Final = "look-after-refused-restart"
"""2026-11: runs whose history has a refused restart from before took it for final. The id is older than the rule about dates."""

HOLDS_ARE_SHOWN: Final = "2026-11-26-holds-are-shown"
"""Runs from before logged what they hold for, and wrote nothing of it to the row on its own account."""

CALLS_ARE_LOOKED_AT: Final = "2026-11-26-calls-are-looked-at"
"""Runs from before wait for a call at the provider without a timer beside it."""
