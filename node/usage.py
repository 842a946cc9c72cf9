"""The usage of a whole answer from llama.cpp's reports: one per choice, when it ends.

Of a text completion a report comes beside its choice, of a conversation beside none (seen with llama.cpp b0, xllamacpp 0.2).
"""

from typing import Any

Json = dict[str, Any]


class UsageSum:
    """`choices_per_prompt`: the tokens of a prompt count once for all its choices. A conversation is one prompt: None."""

    def __init__(self, choices_per_prompt: int | None) -> None:
        self._choices_per_prompt = choices_per_prompt
        self._inputs: dict[int, int] = {}  # by prompt
        self._output = 0
        self._reports: list[Json] = []

    def add(self, usage: Json, choice: int) -> None:
        prompt = choice // self._choices_per_prompt if self._choices_per_prompt else 0
        self._inputs[prompt] = usage["prompt_tokens"]
        self._output += usage["completion_tokens"]
        self._reports.append(usage)

    def total(self) -> Json | None:
        """The server's own words of a single choice; of several the sums, without details."""
        if len(self._reports) < 2:
            return self._reports[0] if self._reports else None
        given = sum(self._inputs.values())
        return {"prompt_tokens": given, "completion_tokens": self._output, "total_tokens": given + self._output}
