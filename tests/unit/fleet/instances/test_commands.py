"""What a command comes to, for every state: from the contract (fleet.md 2.11), without a database."""

from itertools import product

import pytest

from models.base.errors import AppError, Conflict, MalformedRequest
from models.domain.fleet.instances.commands import (
    Commandable,
    Ending,
    GivingUp,
    check_archive,
    check_reinstall,
    ending,
    giving_up,
)
from models.domain.fleet.instances.state import DesiredStatus, InstanceStatus
from models.domain.fleet.operations import OperationKind
from models.domain.fleet.provider_kind import ProviderKind
from models.domain.operations import OperationStatus

ABLE = ProviderKind(code="able", can_reinstall=True)
UNABLE = ProviderKind(code="unable", can_reinstall=False)
GONE = {InstanceStatus.TERMINATED, InstanceStatus.ARCHIVED}
GOING = {InstanceStatus.DRAINING, InstanceStatus.TERMINATING}


def instance(
    status: InstanceStatus = InstanceStatus.READY,
    *,
    desired: DesiredStatus = DesiredStatus.READY,
    provider: ProviderKind = ABLE,
    is_attempted: bool = True,
    has_machine: bool = True,
) -> Commandable:
    return Commandable(
        status=status,
        desired_status=desired,
        provider=provider,
        is_create_attempted=is_attempted,
        has_machine=has_machine,
    )


def refusal_of(one: Commandable) -> AppError | None:
    try:
        check_reinstall(one)
    except AppError as error:
        return error
    return None


@pytest.mark.parametrize(("status", "is_attempted"), list(product(InstanceStatus, [True, False])))
def test_an_end_is_the_owners_as_soon_as_something_may_be_billed(status: InstanceStatus, *, is_attempted: bool) -> None:
    came_to = ending(instance(status, is_attempted=is_attempted))
    assert came_to is (Ending.OVER if status in GONE else Ending.BY_ITS_OWNER if is_attempted else Ending.AT_ONCE)


@pytest.mark.parametrize("status", InstanceStatus)
def test_a_reinstall_is_refused_for_the_first_of_its_reasons(status: InstanceStatus) -> None:
    """400 for what is gone, 409 for what is going, then what the provider cannot do, then what is not there yet."""
    refusal = refusal_of(instance(status, provider=UNABLE, has_machine=False))
    assert refusal is not None
    if status in GONE:
        assert (type(refusal), refusal.code) == (MalformedRequest, "INSTANCE_TERMINATED")
    elif status in GOING:
        assert (type(refusal), refusal.code) == (Conflict, "INSTANCE_TERMINATING")
    else:
        assert (type(refusal), refusal.code) == (MalformedRequest, "REINSTALL_NOT_SUPPORTED")
        missing = refusal_of(instance(status, has_machine=False))
        assert missing is not None
        assert (type(missing), missing.code) == (MalformedRequest, "INSTANCE_HAS_NO_MACHINE")
        assert refusal_of(instance(status)) is None


def test_a_termination_that_was_accepted_is_none_to_reinstall_from() -> None:
    refusal = refusal_of(instance(desired=DesiredStatus.TERMINATED))
    assert refusal is not None
    assert refusal.code == "INSTANCE_TERMINATING"


@pytest.mark.parametrize("status", InstanceStatus)
def test_what_is_terminated_alone_is_archived(status: InstanceStatus) -> None:
    if status is InstanceStatus.TERMINATED:
        check_archive(status, shown_as="terminated")
        return
    with pytest.raises(MalformedRequest, match="this one is shown so") as refused:
        check_archive(status, shown_as="shown so")
    assert refused.value.code == "INSTANCE_NOT_TERMINATED"


@pytest.mark.parametrize(("kind", "status"), list(product(OperationKind, OperationStatus)))
def test_what_may_be_given_up(kind: OperationKind, status: OperationStatus) -> None:
    """A provision at any time, a reinstall before it begins, a termination never."""
    is_open = status in {OperationStatus.PENDING, OperationStatus.RUNNING, OperationStatus.WAITING_APPROVAL}
    if is_open and kind is OperationKind.INSTANCE_PROVISION:
        assert giving_up(kind, status) is GivingUp.COMPENSATED
    elif kind is OperationKind.INSTANCE_REINSTALL and status is OperationStatus.PENDING:
        assert giving_up(kind, status) is GivingUp.WITHDRAWN
    else:
        with pytest.raises(Conflict) as refused:
            giving_up(kind, status)
        assert refused.value.code == ("OPERATION_NOT_CANCELLABLE" if is_open else "OPERATION_FINISHED")
