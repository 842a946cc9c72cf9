"""Somebody who uses a running stack: with the administrator's key, over HTTP."""

import json
import time
from pathlib import Path
from typing import Any, Self

import httpx

from tests.patience import GIVE_UP_S, OF_A_STACK_S

MODEL = "smollm2-135m-instruct"
QUESTION = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
BETWEEN_TWO_LOOKS_S = 0.05


class Person:
    """`home` is that of the stack, which may be away for a while."""

    def __init__(self, home: Path) -> None:
        admin = json.loads((home / "admin.json").read_text())
        self._http = httpx.Client(
            base_url=admin["api_url"], headers={"authorization": f"Bearer {admin['api_key']}"}, timeout=GIVE_UP_S,
            trust_env=False,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def deploy(self, **order: str) -> str:
        answer = self._http.post("/deployments", json={"model_id": MODEL, "provider_code": "local", **order})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["instance_id"])

    def terminate(self, instance: str) -> None:
        answer = self._http.delete(f"/instances/{instance}")
        assert answer.status_code in (200, 202), answer.text

    def instance(self, instance: str) -> dict[str, Any]:
        return dict(self._http.get(f"/instances/{instance}").json())

    def status(self, instance: str) -> str:
        return str(self.instance(instance)["status"])

    def until_status(self, instance: str, status: str, give_up_s: float = OF_A_STACK_S) -> list[str]:
        """What is shown as waited for meanwhile, each once."""
        shown: list[str] = []
        deadline = time.monotonic() + give_up_s
        while (seen := self.instance(instance))["status"] != status:
            if seen["waiting_on"] and str(seen["waiting_on"]) not in shown:
                shown.append(str(seen["waiting_on"]))
            assert time.monotonic() < deadline, seen
            time.sleep(BETWEEN_TWO_LOOKS_S)
        return shown

    def until_answered(self, give_up_s: float = OF_A_STACK_S) -> list[tuple[int, str]]:
        """What a client is told that asks again and again until the model answers: every other answer, once."""
        told: list[tuple[int, str]] = []
        deadline = time.monotonic() + give_up_s
        while True:
            assert time.monotonic() < deadline, told
            try:
                answer = self._http.post("/v1/chat/completions", json=QUESTION)
            except httpx.ConnectError:
                continue  # the API itself is still starting
            if answer.status_code == httpx.codes.OK:
                assert answer.json()["choices"][0]["message"]["content"]
                return told
            refusal = (answer.status_code, str(answer.json()["error"]["code"]))
            if refusal not in told:
                told.append(refusal)
            time.sleep(BETWEEN_TWO_LOOKS_S)
