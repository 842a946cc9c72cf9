"""The gate: recorded histories replay against this source, the evidence is intact, a change of commands is accepted by name."""

import pytest
from temporalio.worker import Replayer

from activities.runtime.plugin import platform_plugin
from workers import fingerprints, record, registry


def test_the_evidence_is_intact() -> None:
    problems = record.verify()
    assert not problems, "\n".join(problems)


async def test_every_recorded_history_replays() -> None:
    recorded = {name.partition("/")[0] for name, _ in record.histories()}
    assert recorded == {workflow.__temporal_workflow_definition.name for workflow in registry.WORKFLOWS}
    replayer = Replayer(workflows=list(registry.WORKFLOWS), plugins=[platform_plugin(None)])
    for name, history in record.histories():
        outcome = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        if outcome.replay_failure is not None:
            pytest.fail(
                f"{name} no longer replays: {outcome.replay_failure}\n"
                "Guard the change with workflow.patched(...), or, when no such run can exist any more:\n"
                f"    python -m workers.record withdraw {name} --patch ID --reason '...'"
            )


def test_no_workflow_issues_other_commands_than_were_accepted() -> None:
    changed = fingerprints.difference(fingerprints.baseline(), fingerprints.fingerprints())
    assert not changed, changed
