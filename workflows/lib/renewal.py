"""When an owner goes on as a new run: its history is replayed whole by every worker that takes it over, and has an end."""

from temporalio import workflow

from workflows import options, patches


def is_due(*, at_boundary: bool) -> bool:
    """Between two passes. `at_boundary`: the object has just come into another phase, where little is under way.

    Runs from before the patch go on until the server suggests it.
    """
    info = workflow.info()
    most = options.RENEWAL_EVENTS_AT_BOUNDARY if at_boundary else options.RENEWAL_EVENTS
    return info.is_continue_as_new_suggested() or (
        info.get_current_history_length() >= most and workflow.patched(patches.OWNERS_RENEW_THEMSELVES)
    )
