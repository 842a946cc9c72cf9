"""What is kept of an inference request: who asked which instance for what, how it ended, how many tokens. Never its text."""

from enum import StrEnum


class InferenceOutcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the upstream refused or could not be reached
    CANCELLED = "cancelled"  # the caller went away
    INTERRUPTED = "interrupted"  # this process or the upstream died in the middle


class UsageSource(StrEnum):
    REPORTED = "reported"  # the model server's own figure
    ESTIMATED = "estimated"  # counted from what passed through
