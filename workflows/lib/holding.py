"""What an owner holds for and since when: begun by what stands in its way, ended by the next thing that works."""

from collections.abc import Callable
from datetime import datetime

from models.contracts.operations import Held
from models.contracts.owners import OwnerState
from models.domain.holds import AT_PROVIDER, HoldCode


class Holding:
    """`held` is None for an owner that nothing holds up. It is carried in every projection, so that the row says the same.

    It lies in the owner's state, which goes on into the next run.
    """

    def __init__(self, state: OwnerState, now: Callable[[], datetime]) -> None:
        self._state = state
        self._now = now
        self._is_of_this_pass = self._is_of_call = False

    @property
    def held(self) -> Held | None:
        return self._state.held

    @held.setter
    def held(self, held: Held | None) -> None:
        self._state.held = held

    def begin_pass(self) -> None:
        self._is_of_this_pass = False

    def note(self, code: HoldCode | str, *, of_call: bool = False) -> None:
        """`since` stays where the hold goes on for another reason: it says how long the object has not moved.

        `of_call`: it is why a call at the provider has not come back, and whosever fault that is, it is over with the call.
        """
        self.held = Held(code=code, since=self.held.since if self.held else self._now())
        self._is_of_this_pass, self._is_of_call = True, of_call

    def recall(self, on_row: Held | None) -> None:
        """What the row remembers of the same hold: a decision that was lost with its worker is taken anew, and later."""
        if self.held is not None and on_row is not None and on_row.since < self.held.since:
            self.held = Held(code=self.held.code, since=on_row.since)

    def end(self) -> None:
        self.held = None

    def end_at_provider(self) -> None:
        """The provider has done something that it was asked for."""
        if self.held is not None and (self.held.code in AT_PROVIDER or self._is_of_call):
            self.held = None

    def end_with_pass(self) -> None:
        """A pass came through, or has come as far as to wait for news without end."""
        if self.held is not None and not self._is_of_this_pass and self.held.code not in AT_PROVIDER:
            self.held = None
