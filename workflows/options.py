"""Every timeout, retry policy and timer of the workflows; nothing else in `workflows/` says `timedelta` or `RetryPolicy`.

An option set is splatted into the call: `workflow.execute_activity_method(act.find, request, **options.PROVIDER_READ)`.
Whether a failure is retried at all is decided where it is raised (`AppError.retryable`); here is only how often and how long.
All policies retry without a limit of attempts; where there is an end, a schedule-to-close timeout states it in time.
"""

from datetime import timedelta
from typing import Final, TypedDict

from temporalio.common import RetryPolicy


class ActivityOptions(TypedDict, total=False):
    """What a regular activity's call takes."""

    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta
    schedule_to_start_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy


class LocalActivityOptions(TypedDict, total=False):
    """What a local activity's call takes: no heartbeats there."""

    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta
    local_retry_threshold: timedelta
    retry_policy: RetryPolicy


def seconds(value: float) -> timedelta:
    """A duration that arrives as data: a setting in the workflow's input, the rest of a deadline. Never negative."""
    return timedelta(seconds=max(value, 0.0))


HEARTBEAT: Final = timedelta(seconds=6)
"""Heartbeat time-out of every long activity: a killed worker's attempt is known to be lost within 6 s, so that an instance
goes on within 15 s of a worker's return."""

# -- Retry policies: how fast after the first failure, how slow at most. Unlimited attempts.

_PROVIDER_RETRY: Final = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))
"""A cloud API: quick enough for a lost packet, slow enough for an outage. 30 s is also the longest time that a machine stays
billed after its provider is back. A provider's own Retry-After overrides both."""

_POLL_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=1.5, maximum_interval=timedelta(seconds=10)
)

_RECORD_RETRY: Final = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10))

# -- Regular activities

PROVIDER_READ: Final = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=30),
    schedule_to_close_timeout=timedelta(minutes=10),
    retry_policy=_PROVIDER_RETRY,
)
"""One describe or list. Gives up after ten minutes: who only reads can say "unknown" and read again."""

PROVIDER_GLANCE: Final = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=30),
    schedule_to_close_timeout=timedelta(seconds=30),
    retry_policy=_PROVIDER_RETRY,
)
"""A describe that an owner can do without: it hears of little else meanwhile, and of what it does not learn time tells."""

PROVIDER_MUTATION: Final = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=120),
    heartbeat_timeout=HEARTBEAT,
    schedule_to_close_timeout=timedelta(minutes=15),
    retry_policy=_PROVIDER_RETRY,
)
"""A call that changes something and costs nothing if it never happens: reinstall, restart of the agent. The heartbeat makes a
killed worker's attempt known in seconds rather than after the 120 s that a slow provider may take."""


def provider_create(remaining_s: float) -> ActivityOptions:
    """The create of a machine: as many attempts as fit what is left of the startup timeout, in seconds.

    The same key makes every attempt find what an earlier one made, so only time limits them. The owner looks for a machine
    once more after a time-out here: the last attempt may have made one.
    """
    return ActivityOptions(
        start_to_close_timeout=timedelta(seconds=180),
        heartbeat_timeout=HEARTBEAT,
        schedule_to_close_timeout=_at_least_one_attempt(remaining_s),
        retry_policy=_PROVIDER_RETRY,
    )


def await_machine(remaining_s: float) -> ActivityOptions:
    """A long poll that returns when the provider says running, failed or gone; `remaining_s` as for `provider_create`.

    One attempt polls for up to ten minutes inside one activity, which costs the history nothing, and heartbeats meanwhile.
    """
    return ActivityOptions(
        start_to_close_timeout=timedelta(minutes=10),
        heartbeat_timeout=HEARTBEAT,
        schedule_to_close_timeout=_at_least_one_attempt(remaining_s),
        retry_policy=_POLL_RETRY,
    )


def _at_least_one_attempt(remaining_s: float) -> timedelta:
    """A deadline already passed still leaves time for one look, and zero would mean "no limit" to the server."""
    return seconds(max(remaining_s, 10.0))


# -- Local activities

RECORD: Final = LocalActivityOptions(
    start_to_close_timeout=timedelta(seconds=5),
    local_retry_threshold=timedelta(seconds=20),
    retry_policy=_RECORD_RETRY,
)
"""One short transaction. Unlimited attempts, since the database may be away and the row must follow; at most 10 s apart, so
that it is written within 10 s of the database's return. The threshold above that keeps all waiting inside the workflow task:
three history events per eight seconds of outage, where durable timers would add seven per ten."""

SHOW_HOLD: Final = LocalActivityOptions(
    start_to_close_timeout=timedelta(seconds=5),
    schedule_to_close_timeout=timedelta(seconds=5),
    retry_policy=_RECORD_RETRY,
)
"""The row told of a hold. It ends soon: an owner that cannot write has more to do than to say so."""

LOOK_AT_CALL: Final = LocalActivityOptions(
    start_to_close_timeout=timedelta(seconds=5),
    schedule_to_close_timeout=timedelta(seconds=5),
    retry_policy=_RECORD_RETRY,
)
"""How a call at the provider fares, asked of Temporal. What is not learnt now is learnt at the next look."""

# -- Timers, and durations that decide

REMOVAL_ROUND: Final = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=75),
    heartbeat_timeout=HEARTBEAT,
    schedule_to_close_timeout=timedelta(seconds=90),
    retry_policy=_PROVIDER_RETRY,
)
"""One round of removal watches for 45 s. The round ends, the removal does not: the owner reports and begins the next."""

ALARM_AFTER_ROUNDS: Final = 6
"""Rounds of 45 s and their pauses: an alarm after about five minutes (peers.md 3.4, T5)."""


def removal_pause_s(rounds: int) -> float:
    """Seconds before the next round of a removal: 1, 2, 4, ... at most 30."""
    return float(min(2 ** min(rounds - 1, 5), 30))


def drain(timeout_s: float) -> ActivityOptions:
    """The wait for requests in flight, given `timeout_s` and some time to notice its end."""
    return ActivityOptions(
        start_to_close_timeout=seconds(timeout_s + 30),
        schedule_to_close_timeout=seconds(timeout_s + 60),
        heartbeat_timeout=HEARTBEAT,
        retry_policy=_POLL_RETRY,
    )


SWEEP_EVERY: Final = timedelta(seconds=10)
"""Between two sweeps: a lost owner or a silent agent is noticed within this time and the stale time."""

SWEEP: Final = ActivityOptions(
    start_to_close_timeout=timedelta(minutes=5),
    heartbeat_timeout=HEARTBEAT,
    schedule_to_close_timeout=timedelta(minutes=5),
    retry_policy=_PROVIDER_RETRY,
)

RECONCILE_EVERY: Final = timedelta(minutes=2)
"""Between two lists of a provider: 20 calls for 10,000 machines. So long may a machine belong to nobody before it is told of."""

RECONCILE: Final = ActivityOptions(
    start_to_close_timeout=timedelta(minutes=10),
    schedule_to_start_timeout=timedelta(minutes=1),
    schedule_to_close_timeout=timedelta(minutes=12),
    heartbeat_timeout=HEARTBEAT,
    retry_policy=_PROVIDER_RETRY,
)
"""Two lists of 20 pages at a provider that takes 15 s for each. That nobody serves the provider is known after a minute."""

NOTE_LISTING: Final = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=5),
    schedule_to_close_timeout=timedelta(minutes=5),
    retry_policy=_RECORD_RETRY,
)

SCHEDULES_EVERY: Final = timedelta(minutes=1)
"""Between two comparisons of schedules with their rows, where nobody says that a row has changed: so long may Temporal's schedule
be another than its row says, after somebody changed it by hand. A run that begins meanwhile asks the row.
"""

RECONCILE_SCHEDULES: Final = ActivityOptions(
    start_to_close_timeout=timedelta(minutes=5),
    heartbeat_timeout=HEARTBEAT,
    schedule_to_close_timeout=timedelta(minutes=5),
    retry_policy=_PROVIDER_RETRY,
)

ORDER_SCHEDULED: Final = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=5),
    schedule_to_close_timeout=timedelta(minutes=5),
    retry_policy=_RECORD_RETRY,
)
"""One short transaction. A run that cannot write it for so long fails, and the next one is due before or soon after."""

UPKEEP_EVERY: Final = timedelta(minutes=1)
"""Samples are averaged by the minute."""

ROUNDS_PER_RUN: Final = 300
"""Rounds of a long-lived workflow before it continues as new: some 3,300 events, below the 4,096 at which the server suggests it,
and 29 runs of the sweeper a day. Another number would end running histories elsewhere than recorded: it needs a patch.
"""

RENEWAL_EVENTS_AT_BOUNDARY: Final = 500
"""Events of an owner's run from which it goes on as a new one when its object comes into another phase. A start takes some 60, a
silent agent that is healed as many: most objects live and end in one run, and one that is healed daily has a new run a week."""

RENEWAL_EVENTS: Final = 1_500
"""The same between any two passes, for an object that stays in its phase and hears much. With the longest call, which is not
interrupted for it, a run stays below 2,000, half of the 4,096 at which the server suggests it.
"""

PROVIDER_PAUSE_S: Final = 30.0
"""Between two looks at a provider that refuses to answer: an outage of hours must not fill the history."""

FIRST_LOOK_S: Final = 60.0
"""How long a call at the provider is waited for before its owner asks how it fares: two attempts that time out, and a bit."""

LONGEST_LOOK_S: Final = 480.0
"""Looks come 60, 120, 240 and then 480 s after one another: some ten of them in a startup time of an hour."""

HOLD_S: Final = 30.0
"""After something that no phase expected: long enough not to spin, short enough for a person who watches."""
