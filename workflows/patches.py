"""Every patch of the workflows: what runs that are older than its date go on doing as before, and when that can go.

An id is the date and the stem of the change. A run that was there before keeps the old way until it continues as new, and an
owner does so only when something happens to it: one that waits for news may be as old as its object. So a patch goes when the
oldest open run is younger than its date; lists of the Temporal UI show when runs began. The recorded histories that need it, and
those that bear its marker, are withdrawn by its id then.
"""

from typing import Final

LOOK_AFTER_REFUSAL: Final = "look-after-refused-restart"
"""2026-11: Runs whose history has a refused restart from before took it for final. The id is older than the rule about dates.
Goes when no instance's run from before it is open."""

HOLDS_ARE_SHOWN: Final = "2026-11-26-holds-are-shown"
"""Runs from before logged what they hold for, and wrote nothing of it to the row on its own account.
Goes when no owner's run from before it is open."""

KNOWN_DEAD_ARE_HEALED_AT_ONCE: Final = "2026-11-26-known-dead-are-healed-at-once"
"""Runs from before wait before they look at the machine of an agent that fell silent.
Goes when no instance's run from before it is open."""

CALLS_ARE_LOOKED_AT: Final = "2026-11-26-calls-are-looked-at"
"""Runs from before wait for a call at the provider without a timer beside it.
Goes when no owner's run from before it is open."""

ROWLESS_OWNERS_END: Final = "2026-11-26-rowless-owners-end"
"""Runs from before that had found no row held, and looked again for ever.
Goes when no owner's run from before it is open."""

LATE_MACHINES_COUNT: Final = "2026-11-26-late-machines-count"
"""Runs from before that took over after the startup time gave their machine up without a look at it.
Goes when no instance's run from before it is open."""

BOOTS_OVERTAKE: Final = "2026-11-26-boots-overtake"
"""Runs from before took the refusal of a boot older than the machine's for final.
Goes when no instance's run from before it is open."""

NEWS_BESIDE_CALLS_COUNTS: Final = "2026-11-26-news-beside-calls-counts"
"""Runs from before that read the row beside a call at the provider waited on after it, as if they had heard nothing.
Goes when no owner's run from before it is open."""

COMMANDS_ARE_HINTS: Final = "2026-11-26-commands-are-hints"
"""Runs from before did not hear a command whose operation they had heard of, in that run or, by `handled` of their input, before.
Goes when no instance's run from before it is open, and `InstanceInput.handled` and `InstanceOwner.hear_command` with it."""

OWNERS_RENEW_THEMSELVES: Final = "2026-11-26-owners-renew-themselves"
"""Runs from before continued as new when the server suggested it, at thousands of events, whatever they were in the middle of.
Goes when no owner's run from before it is open."""
