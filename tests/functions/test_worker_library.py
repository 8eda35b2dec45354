"""The app under Microsoft's own worker library, as the platform loads and calls it from Python 3.13 on: it indexes
the routes that the local host serves, and gives the same answers.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import azure.functions as func
import httpx
import local_host
import pytest

from tests.conftest import PROJECT
from tests.functions import worker_messages as messages
from tests.functions.conftest import PREDICT

worker = pytest.importorskip("azure_functions_runtime", reason="it needs Python 3.13")
INPUT = "req"
SELDOM_THE_SAME = {"date", "server-timing", "content-length"}


@pytest.fixture(scope="module")
def indexed() -> Iterator[dict[str, Any]]:
    """Function metadata by name, as the worker reports it to the host."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHON_THREADPOOL_THREAD_COUNT", "1")
        worker.start_threadpool_executor()
        init = messages.Message(capabilities={}, function_app_directory=str(PROJECT / "functions"))
        started = asyncio.run(worker.worker_init_request(messages.stream(worker_init_request=init)))
        assert started.result.status == messages.StatusResult.Success, started.result
        listed = asyncio.run(worker.functions_metadata_request(messages.stream()))
        for function in listed.function_metadata_results:
            load = messages.Message(function_id=function.function_id)
            loaded = asyncio.run(worker.function_load_request(messages.stream(function_load_request=load)))
            assert loaded.result.status == messages.StatusResult.Success
        yield {function.name: function for function in listed.function_metadata_results}
        worker.stop_threadpool_executor()


def trigger(function: Any) -> dict[str, Any]:
    bindings = [json.loads(binding) for binding in function.raw_bindings]
    found: dict[str, Any] = next(binding for binding in bindings if binding["type"] == "httpTrigger")
    return found


def call(indexed: dict[str, Any], request: httpx.Request) -> tuple[int, dict[str, str], bytes]:
    """Invoke the function that the platform would choose; status, headers and body."""
    path = request.url.raw_path.decode().partition("?")[0]
    for name in sorted(indexed):
        if match := local_host.route_pattern(trigger(indexed[name])["route"]).fullmatch(path):
            break
    else:
        raise LookupError(path)
    http = messages.TypedData(
        http=messages.RpcHttp(
            method=request.method,
            url=str(request.url),
            headers=dict(request.headers),
            params=match.groupdict(),
            query=dict(request.url.params),
            body=messages.TypedData(bytes=request.content),
        )
    )
    invocation = messages.invocation(indexed[name].function_id, INPUT, http)
    reply = asyncio.run(worker.invocation_request(messages.stream(invocation_request=invocation)))
    assert reply.result.status == messages.StatusResult.Success, reply.result
    answer = reply.return_value.http
    return int(answer.status_code), answer.headers, answer.body.bytes


def test_the_worker_indexes_the_routes_that_the_local_host_serves(
    indexed: dict[str, Any], functions: list[func.Function]
) -> None:
    by_worker = [local_host.route_pattern(trigger(indexed[name])["route"]) for name in sorted(indexed)]
    assert by_worker == [pattern for pattern, _ in local_host.routes(functions)]
    assert {trigger(function)["name"] for function in indexed.values()} == {INPUT}
    assert "models/{name}/predict" in trigger(indexed["predict"])["route"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/breast-cancer-forest", None),
        ("GET", "/v1/models/nothing", None),
        ("GET", "/v2", None),
        ("GET", "/v2/health/live", None),
        ("GET", "/v2/health/ready", None),
        ("GET", "/v2/nothing", None),
        ("GET", "/", None),
        ("DELETE", "/v1/models", None),
        ("POST", PREDICT, b"no json"),
        ("POST", PREDICT + "?scale=0.5", b'{"rows": []}'),
        ("POST", PREDICT, b'{"rows": [{"mean_radius": 1}]}'),
        ("POST", "/v1/models/breast-cancer/predict", "golden"),
        ("POST", "/v1/models/breast-cancer-forest/predict", "golden"),
        ("POST", PREDICT, "golden"),
    ],
)
def test_the_worker_gives_the_answers_of_the_local_host(
    indexed: dict[str, Any], client: httpx.Client, golden: dict[str, Any], method: str, path: str, body: Any
) -> None:
    content = json.dumps({"rows": golden["rows"]}).encode() if body == "golden" else body
    request = client.build_request(method, path, content=content, headers={"x-request-id": "mine"})
    expected = client.send(request)
    status, headers, found = call(indexed, request)
    assert status == expected.status_code
    assert without_times(found) == without_times(expected.content)
    assert bool(found) == bool(expected.content)
    wanted = {name: value for name, value in expected.headers.items() if name not in SELDOM_THE_SAME}
    assert {name.lower(): value for name, value in headers.items() if name.lower() not in SELDOM_THE_SAME} == wanted


def without_times(body: bytes) -> bytes:
    return re.sub(rb'"timings_ms":\{[^}]*\}', b"", body)


def test_the_worker_computes_in_its_one_thread(indexed: dict[str, Any]) -> None:
    pool = worker.get_threadpool_executor()
    assert pool is not None
    assert pool._max_workers == 1
