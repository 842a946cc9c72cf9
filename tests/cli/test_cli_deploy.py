"""Orders and the waiting for them: through restarts, lost answers, Ctrl-C and time-outs."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
import time
from functools import partial

from aiohttp import web

from tests.cli.command_line import CommandLine, eventually
from tests.cli.scripted_api import STEPS, ScriptedApi
from tests.patience import GIVE_UP_S

MODEL = "smollm2-135m-instruct"


SELDOM_LOOKING = "import cli.following, cli.main; cli.following.LOOK_EVERY_S = 3600.0; cli.main.main()"


def nothing_was_cancelled(api: ScriptedApi) -> bool:
    return not [request for request in api.received if request.method == "DELETE" or request.path.endswith("/cancel")]


def looked_at(api: ScriptedApi, operation_id: str, *, more_than: int) -> bool:
    return len(api.sent("GET", f"/operations/{operation_id}")) > more_than


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=GIVE_UP_S)
    return process.returncode, out, err


def waiting_for(api: ScriptedApi, process: subprocess.Popen[str]) -> str:
    """The operation that a started command is watching."""
    eventually(lambda: api.operations and api.sent("GET", f"/operations/{api.newest_operation()}"))
    assert process.poll() is None
    return api.newest_operation()


def test_an_order_carries_what_was_given_and_nothing_else(api: ScriptedApi, quarterdeck: CommandLine):
    ran = quarterdeck.run("deploy", MODEL, "--provider", "mock", "--zone", "sim-b", "--type", "sim-l4-1-24g")
    assert ran.returncode == 0, ran.stderr
    (order,) = api.sent("POST", "/deployments")
    assert order.body == {"model_id": MODEL, "provider_code": "mock", "zone": "sim-b", "instance_type": "sim-l4-1-24g"}
    assert quarterdeck.run("deploy", MODEL).returncode == 0
    assert api.sent("POST", "/deployments")[1].body == {"model_id": MODEL}


def test_every_order_has_a_key_of_its_own_or_the_given_one(api: ScriptedApi, quarterdeck: CommandLine):
    for more in ([], [], ["--idempotency-key", "release-42"]):
        assert quarterdeck.run("deploy", MODEL, *more).returncode == 0
    keys = [order.headers["idempotency-key"] for order in api.sent("POST", "/deployments")]
    assert len(set(keys)) == 3
    assert keys[2] == "release-42"


def test_a_key_that_no_header_can_carry_is_wrong_usage(api: ScriptedApi, quarterdeck: CommandLine):
    for key in ("", "clé", "a\nb", "k" * 256):
        assert quarterdeck.run("deploy", MODEL, "--idempotency-key", key).returncode == 2
    assert not api.received


def test_the_answer_and_what_to_do_next(api: ScriptedApi, quarterdeck: CommandLine):
    ran = quarterdeck.run("deploy", MODEL)
    (instance_id,) = api.instances
    assert ran.stdout == f"accepted: instance {instance_id}\n"
    assert f"quarterdeck operations --watch {api.newest_operation()}" in ran.stderr


def test_json_is_the_answer_of_the_api_and_nothing_beside_it(api: ScriptedApi, quarterdeck: CommandLine):
    ran = quarterdeck.run("deploy", MODEL, "--json")
    answer = json.loads(ran.stdout)
    assert answer["status"] == "accepted"
    assert answer["operation"] == api.operations[api.newest_operation()]
    assert ran.stderr == ""


def test_waiting_tells_each_step_once_and_ends_with_the_operation(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("deploy", MODEL, "--wait")
    operation_id = waiting_for(api, process)
    for done in range(1, len(STEPS) + 1):
        state = {"status": "starting", "progress_percent": 10 * done, "completed_steps": STEPS[:done]}
        api.move(operation_id, instance=state, status="running")
        time.sleep(0.05)
    api.move(operation_id, instance={"status": "ready", "progress_percent": 100}, status="succeeded")
    out, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 0, err
    assert out == f"ready: instance {api.operations[operation_id]['resource']['id']}\n"
    assert err.count("done: ") == len(STEPS)
    assert err.index("Machine created") < err.index("Model loaded") < err.index("Health check passed")
    assert f"quarterdeck chat {MODEL}" in err


def test_waiting_tells_of_a_hold_once_and_of_its_end(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("deploy", MODEL, "--wait")
    operation_id = waiting_for(api, process)
    held = {"code": "PROVIDER_AUTH", "since": "2026-01-31T10:00:00Z"}
    for state in ({"held": held}, {"held": held, "progress": 1}, {"held": None}):
        api.move(operation_id, status="running", **state)
        looks = len(api.sent("GET", f"/operations/{operation_id}"))
        eventually(partial(looked_at, api, operation_id, more_than=looks + 1))
    api.move(operation_id, instance={"status": "ready"}, status="succeeded")
    _, err = process.communicate(timeout=GIVE_UP_S)
    assert err.count("held: the provider refuses the credentials (PROVIDER_AUTH)\n") == 1
    after = err.split("(PROVIDER_AUTH)\n")[1].splitlines()
    assert "held" not in "".join(after)
    assert [line.split()[-1] for line in after[:2]] == ["provisioning", "ready"], "the end of it is a line too"


def test_events_end_the_waiting_at_once_not_the_next_look(api: ScriptedApi, quarterdeck: CommandLine):
    """The next look would be in an hour."""
    process = quarterdeck.start_python("-c", SELDOM_LOOKING, "deploy", MODEL, "--wait")
    operation_id = waiting_for(api, process)
    eventually(lambda: api.streams[f"/operations/{operation_id}/events"].resumed_after)
    api.move(operation_id, instance={"status": "ready"}, status="succeeded")
    out, _ = process.communicate(timeout=GIVE_UP_S)
    assert (process.returncode, out.partition(":")[0]) == (0, "ready")


def test_json_with_wait_adds_the_outcome(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("deploy", MODEL, "--wait", "--json")
    operation_id = waiting_for(api, process)
    api.move(operation_id, instance={"status": "ready"}, status="succeeded", result={"ok": True})
    out, err = process.communicate(timeout=GIVE_UP_S)
    answer = json.loads(out)
    assert (answer["operation"]["status"], answer["instance"]["status"]) == ("succeeded", "ready")
    assert err == ""


def test_a_failed_operation_is_a_failure_with_its_reason(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("deploy", MODEL, "--wait")
    operation_id = waiting_for(api, process)
    error = {"code": "NO_CAPACITY", "message": "sim-b has no sim-l4-1-24g left"}
    api.move(operation_id, instance={"status": "failed"}, status="failed", error=error)
    _, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 1
    assert "sim-b has no sim-l4-1-24g left" in err
    assert "NO_CAPACITY" in err
    assert operation_id in err
    assert "quarterdeck logs --instance" in err


def test_a_failed_operation_with_json_gives_both_documents(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("deploy", MODEL, "--wait", "--json")
    operation_id = waiting_for(api, process)
    api.move(operation_id, status="cancelled")
    out, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 1
    assert json.loads(out)["operation"]["status"] == "cancelled"
    assert json.loads(err)["operation_id"] == operation_id


def test_ctrl_c_detaches_and_cancels_nothing(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("deploy", MODEL, "--wait")
    operation_id = waiting_for(api, process)
    code, _, err = interrupt(process)
    assert code == 7
    assert f"quarterdeck operations --watch {operation_id}" in err
    assert "Traceback" not in err
    assert nothing_was_cancelled(api)


def test_ctrl_c_with_json_names_the_operation(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("deploy", MODEL, "--wait", "--json")
    operation_id = waiting_for(api, process)
    code, out, err = interrupt(process)
    told = json.loads(err)
    assert (code, told["exit_code"], told["code"], told["operation_id"]) == (7, 7, "DETACHED", operation_id)
    assert out == ""


def test_a_time_out_leaves_the_operation_alone(api: ScriptedApi, quarterdeck: CommandLine):
    ran = quarterdeck.run("deploy", MODEL, "--wait", "--timeout", "0.5")
    assert ran.returncode == 7
    assert api.newest_operation() in ran.stderr
    assert "WAIT_TIMEOUT" in ran.stderr
    assert nothing_was_cancelled(api)


def test_a_restart_of_the_api_goes_unnoticed(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("deploy", MODEL, "--wait", "--json")
    operation_id = waiting_for(api, process)
    for _ in range(2):
        api.stop()
        time.sleep(1.5)
        api.start()
        looks = len(api.sent("GET", f"/operations/{operation_id}"))
        eventually(partial(looked_at, api, operation_id, more_than=looks))
    api.move(operation_id, instance={"status": "ready"}, status="succeeded")
    out, err = process.communicate(timeout=GIVE_UP_S)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["operation"]["status"] == "succeeded"


def test_events_resume_after_the_last_one(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("deploy", MODEL, "--wait")
    operation_id = waiting_for(api, process)
    events = f"/operations/{operation_id}/events"
    eventually(lambda: api.streams[events].resumed_after)
    api.move(operation_id, status="running")
    api.move(operation_id, status="running")
    looks = len(api.sent("GET", f"/operations/{operation_id}"))
    eventually(lambda: len(api.sent("GET", f"/operations/{operation_id}")) > looks)
    api.stop()
    api.start()
    eventually(lambda: len(api.streams[events].resumed_after) == 2)
    assert api.streams[events].resumed_after == [None, "2"]


def test_an_api_that_stays_away_is_exit_7_with_the_id(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("deploy", MODEL, "--wait")
    operation_id = waiting_for(api, process)
    api.stop()
    _, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 7
    assert "API_UNREACHABLE" in err
    assert f"quarterdeck operations --watch {operation_id}" in err


def test_a_lost_answer_is_asked_for_again_under_the_same_key(api: ScriptedApi, quarterdeck: CommandLine):
    async def accept_and_vanish(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    api.next_answers("POST", "/deployments", accept_and_vanish, accept_and_vanish)
    ran = quarterdeck.run("deploy", MODEL)
    assert ran.returncode == 0, ran.stderr
    orders = api.sent("POST", "/deployments")
    assert len(orders) == 3
    assert len({(order.headers["idempotency-key"], json.dumps(order.body)) for order in orders}) == 1


def test_a_concurrent_duplicate_waits_for_the_first(api: ScriptedApi, quarterdeck: CommandLine):
    async def still_working(_: web.Request) -> web.Response:
        return web.json_response({"code": "CONFLICT", "error": "in progress"}, status=409, headers={"retry-after": "1"})

    api.next_answers("POST", "/deployments", still_working)
    assert quarterdeck.run("deploy", MODEL).returncode == 0
    assert len(api.sent("POST", "/deployments")) == 2


def test_a_long_retry_after_is_a_failure_at_once(api: ScriptedApi, quarterdeck: CommandLine):
    async def much_later(_: web.Request) -> web.Response:
        return web.json_response(
            {"code": "RATE_LIMITED", "error": "slow down"}, status=429, headers={"retry-after": "60"}
        )

    api.next_answers("POST", "/deployments", much_later)
    ran = quarterdeck.run("deploy", MODEL)
    assert (ran.returncode, "RATE_LIMITED" in ran.stderr) == (1, True)
    assert len(api.sent("POST", "/deployments")) == 1
    assert "trying again" not in ran.stderr


def test_ctrl_c_before_the_answer_says_how_to_find_out(api: ScriptedApi, quarterdeck: CommandLine):
    arrived = threading.Event()

    async def never(_: web.Request) -> web.Response:
        arrived.set()
        await asyncio.sleep(60)
        return web.Response()

    api.next_answers("POST", "/deployments", never)
    process = quarterdeck.start("deploy", MODEL, "--wait")
    assert arrived.wait(GIVE_UP_S)
    code, _, err = interrupt(process)
    assert code == 130
    (order,) = api.sent("POST", "/deployments")
    assert f"--idempotency-key {order.headers['idempotency-key']}" in err


def test_sigterm_ends_a_waiting_command_without_a_traceback(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("deploy", MODEL, "--wait")
    operation_id = waiting_for(api, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 143
    assert operation_id in err
    assert "Traceback" not in err
    assert nothing_was_cancelled(api)


def test_an_event_stream_that_is_refused_does_not_end_the_waiting(api: ScriptedApi, quarterdeck: CommandLine):
    ready = api.add_instance(status="booting", completed_steps=[])
    operation_id = api.add_operation("instance.reinstall", ready)
    api.refuse("GET", f"/operations/{operation_id}/events", 404, "NOT_FOUND", "no such stream")
    process = quarterdeck.start("operations", "--watch", operation_id)
    waiting_for(api, process)
    api.operations[operation_id]["status"] = "succeeded"
    out, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 0, err
    assert "instance.reinstall" in out


def test_a_reinstallation_tells_nothing_of_the_boot_before(api: ScriptedApi, quarterdeck: CommandLine):
    instance_id = api.add_instance(status="ready", progress_percent=100, completed_steps=STEPS)
    process = quarterdeck.start("reinstall", instance_id, "--yes", "--wait")
    eventually(lambda: api.operations)
    operation_id = api.newest_operation()
    looks = len(api.sent("GET", f"/operations/{operation_id}"))
    eventually(lambda: len(api.sent("GET", f"/operations/{operation_id}")) > looks + 1)
    booting = {"status": "booting", "progress_percent": 40, "completed_steps": STEPS[:3]}
    api.move(operation_id, instance=booting, status="running")
    shown = len(api.sent("GET", f"/instances/{instance_id}"))
    eventually(lambda: len(api.sent("GET", f"/instances/{instance_id}")) > shown + 1)
    api.move(operation_id, instance={"status": "ready", "progress_percent": 100}, status="succeeded")
    _, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 0, err
    assert "Model loaded" not in err
    assert err.index("pending") < err.index("40 % booting")
