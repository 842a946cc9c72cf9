"""A stream of llama.cpp in the form that OpenAI's clients read.

llama.cpp sends an event `null` for each further prompt, usage once per choice and whether it was asked for or not, and `null` as
the content with which a message begins.
"""

from node.usage import Json, UsageSum


class StreamedAnswer:
    """`usage` collects what the choices report; it goes on only where it was asked for, once, as the last chunk."""

    def __init__(self, usage: UsageSum, *, wants_usage: bool, may_call_tools: bool) -> None:
        self._usage = usage
        self._wants_usage = wants_usage
        self._may_call_tools = may_call_tools
        self._last: Json = {}

    def add(self, event: Json) -> Json | None:
        """What goes on of the event."""
        pieces = event.get("choices") or []
        usage = event.pop("usage", None)
        if usage is not None:
            self._usage.add(usage, pieces[0]["index"] if pieces else 0)
            self._last = event
            if not pieces:
                return None
        for piece in pieces:
            delta = piece.get("delta")
            if delta and "role" in delta and delta.get("content", "") is None and not self._may_call_tools:
                delta["content"] = ""
        return event

    def closing(self) -> Json | None:
        """The chunk of usage. None where nobody asked for it."""
        total = self._usage.total()
        return self._last | {"choices": [], "usage": total} if self._wants_usage and total is not None else None
