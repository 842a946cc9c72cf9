"""What a web page can do to the embedded Temporal: it posts without asking to any port that it finds, and starts nothing."""

import http.client
import json
from uuid import uuid4

import psutil
import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from tests.patience import GIVE_UP_S
from workers.embedded.temporal import TemporalServer


def listening(server: TemporalServer) -> set[int]:
    """Every port on which the server's process listens, as `ss` shows them to any local user."""
    found = [
        (each.pid, each.laddr.port)
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr
    ]
    [owner] = {pid for pid, port in found if port == server.port}
    return {port for pid, port in found if pid == owner}


def simple_post(port: int, path: str, body: object) -> int | None:
    """As a page of another origin sends it without a preflight. None: what listens there does not speak HTTP/1.1."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GIVE_UP_S)
    try:
        connection.request(
            "POST", path, json.dumps(body), {"Content-Type": "text/plain", "Origin": "http://evil.invalid"}
        )
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


async def test_a_page_that_finds_the_http_api_starts_nothing(temporal_dev: TemporalServer) -> None:
    workflow_id = f"attack-{uuid4()}"
    body = {"workflowType": {"name": "Instance"}, "taskQueue": {"name": "orchestration"}}
    ports = listening(temporal_dev)
    assert len(ports) > 2
    answers = {port: simple_post(port, f"/api/v1/namespaces/default/workflows/{workflow_id}", body) for port in ports}
    assert 200 not in answers.values()
    assert 403 in answers.values(), "the HTTP API was not found, so nothing was tried"
    client = await Client.connect(temporal_dev.address)
    with pytest.raises(RPCError) as caught:
        await client.get_workflow_handle(workflow_id).describe()
    assert caught.value.status is RPCStatusCode.NOT_FOUND
