"""What a stream has used, put together from however many reports of usage it makes.

OpenAI's API reports once, at the end, beside no choice. Servers differ: llama.cpp reports once per choice as it ends (beside that
choice for texts, beside none for chats); vLLM tells running totals of each choice (`continuous_usage_stats`) and then the sum.
"""

from collections.abc import Iterable

from models.domain.inference.usage import Usage

WHOLE: frozenset[int] = frozenset()
"""Stands for all choices, also those that are still to come."""


class StreamUsage:
    """The rule: a report is about the choice beside it; beside none, about those that have ended since the last such report.

    A report takes the place of earlier ones about the same choices, so that running totals count by their last; reports about
    different choices are added up. One that comes while nothing has ended, or beside several choices, tells a total of the whole,
    and so does every later one of that server.
    """

    def __init__(self, choices_per_prompt: int) -> None:
        self._choices_per_prompt = choices_per_prompt
        self._reports: dict[frozenset[int], Usage] = {}
        self._ended: set[int] = set()  # since the last report beside no choice
        self._tells_whole = False

    @property
    def count(self) -> int:
        """Reports that are counted."""
        return len(self._reports)

    def ended(self, choice: int) -> None:
        self._ended.add(choice)

    def reported(self, usage: Usage, choices: list[int]) -> None:
        """`choices` are those beside the report."""
        about = frozenset(choices or self._ended)
        if not choices:
            self._ended.clear()
        self._tells_whole = self._tells_whole or not about or len(choices) > 1
        if self._tells_whole:
            self._reports = {WHOLE: usage}
            return
        for earlier in [each for each in self._reports if each & about]:
            del self._reports[earlier]
        self._reports[about] = usage

    def total(self, begun: Iterable[int]) -> Usage | None:
        """None while a choice that has begun is in no report. The tokens of a prompt count once for all its choices."""
        reports = self._reports
        if not reports or (WHOLE not in reports and not frozenset().union(*reports).issuperset(begun)):
            return None
        inputs: dict[frozenset[int], int] = {}
        for about, usage in reports.items():
            prompts = frozenset(choice // self._choices_per_prompt for choice in about)
            inputs[prompts] = max(usage.input_tokens, inputs.get(prompts, 0))
        return Usage(sum(inputs.values()), sum(usage.output_tokens for usage in reports.values()))
