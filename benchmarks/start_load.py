"""The least that starting a workflow costs: `python benchmarks/start_load.py ADDRESS CLIENTS SECONDS`.

The SDK's `start_workflow` with its default converter and a payload of two ids, by so many tasks of one client. Prints JSON as
`http_load.py` does. Nobody polls the task queue: workflows are accepted and stay.
"""

import asyncio
import json
import os
import sys
import time
import uuid

from temporalio.client import Client


async def load(address: str, clients: int, seconds: float) -> dict[str, float]:
    client = await Client.connect(address)
    started = 0
    began_s = time.perf_counter()

    async def start_repeatedly() -> None:
        nonlocal started
        while time.perf_counter() < began_s + seconds:
            ids = {"instance_id": str(uuid.uuid4()), "organization_id": str(uuid.uuid4())}
            await client.start_workflow("Instance", ids, id=f"bare/{ids['instance_id']}", task_queue="nobody")
            started += 1

    await asyncio.gather(*(start_repeatedly() for _ in range(clients)))
    return {"requests": started, "seconds": time.perf_counter() - began_s, "errors": 0}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))), flush=True)
    os._exit(0)  # the SDK's runtime has crashed while the interpreter took itself apart
