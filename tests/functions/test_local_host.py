"""The stand-in for the platform: connections, the one worker, start and stop."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import azure.functions as func
import httpx
import local_host
import pytest

from tests.functions.conftest import LOCAL_HOST, PREDICT, Host, hosting

DELAY_S = 0.5


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Host]:
    with hosting(tmp_path / "log", INFERENCE_FAULT_DELAY_S=str(DELAY_S), INFERENCE_QUEUE_MAX="2") as running:
        yield running


def test_an_idle_connection_holds_up_nobody(client: httpx.Client) -> None:
    connections = [http.client.HTTPConnection(client.base_url.host, client.base_url.port or 0) for _ in range(2)]
    try:
        for _ in range(3):
            for connection in connections:  # each stays open while the other is served
                connection.request("GET", "/v2/health/ready")
                assert connection.getresponse().read() == b""
    finally:
        for connection in connections:
            connection.close()


def test_a_half_sent_request_holds_up_nobody(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as half:
        half.sendall(f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{".encode())
        assert client.get("/v2/health/ready", timeout=5).status_code == 200


def test_one_request_computes_at_a_time_and_few_wait(slow: Host, row: dict[str, Any]) -> None:
    def predict(_: int) -> tuple[httpx.Response, float]:
        started_s = time.monotonic()
        reply = slow.client.post(PREDICT, json={"rows": [row]})
        return reply, time.monotonic() - started_s

    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(predict, range(6)))
    answered = sorted(took_s for reply, took_s in replies if reply.status_code == 200)
    refused = [(reply, took_s) for reply, took_s in replies if reply.status_code == 503]
    assert len(answered) == 3  # one computes, two wait
    assert answered[2] > 2 * DELAY_S
    assert len(refused) == 3
    for reply, took_s in refused:
        assert took_s < DELAY_S
        assert reply.headers["retry-after"] == "1"
        assert reply.json()["code"] == "overloaded"


def test_a_stop_finishes_the_request_in_flight(slow: Host, row: dict[str, Any]) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(slow.client.post, PREDICT, json={"rows": [row]})
        time.sleep(DELAY_S / 3)
        slow.process.send_signal(signal.SIGTERM)
        assert waiting.result().status_code == 200
    assert slow.process.wait(10) == 0
    assert "Traceback" not in slow.log.read_text()


def test_a_client_that_leaves_early_leaves_no_trace(slow: Host) -> None:
    address = (slow.client.base_url.host, slow.client.base_url.port or 0)
    with socket.create_connection(address) as gone:
        gone.sendall(f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{".encode())
    assert slow.client.get("/v2/health/ready").status_code == 200
    assert "Traceback" not in slow.log.read_text()


def test_a_port_in_use_is_said_in_one_sentence(client: httpx.Client) -> None:
    command = [sys.executable, str(LOCAL_HOST), "--port", str(client.base_url.port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: Cannot listen on 127.0.0.1:{client.base_url.port}")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no process to a core")
def test_every_thread_is_on_one_core(host: Host, row: dict[str, Any]) -> None:
    host.client.post(PREDICT, json={"rows": [row]})
    threads = [int(name.name) for name in Path(f"/proc/{host.process.pid}/task").iterdir()]
    cores = {core for thread in threads for core in os.sched_getaffinity(thread)}
    assert len(cores) == 1


def test_routes_are_tried_in_the_order_of_the_platform(functions: list[func.Function]) -> None:
    names = sorted(str(function.get_function_name()) for function in functions)
    routes = local_host.routes(functions)
    assert len(names) == len(routes)
    # The platform orders by name: the function that takes every path must come last, or it takes them all.
    assert names[-1] == "unknown"
    assert [pattern.pattern for pattern, _ in routes if pattern.fullmatch("/any/path")] == [routes[-1][0].pattern]
    # Every model's statistics, not the metadata of a model called "stats".
    first = next(handler.__name__ for pattern, handler in routes if pattern.fullmatch("/v2/models/stats"))
    assert first == "all_stats"


@pytest.mark.parametrize(
    ("route", "path", "params"),
    [
        ("v1/models/{name}/predict", "/v1/models/a%2Fb/predict", {"name": "a%2Fb"}),
        ("v1/models/{name}/predict", "/v1/models//predict", None),
        ("v1/models/{name}", "/v1/models/a/b", None),
        ("v2", "/V2/", {}),
        ("v2", "/v2x", None),
        ("{*path}", "/a/b/", {"path": "a/b/"}),
        ("{*path}", "/", {"path": ""}),
    ],
)
def test_a_route_matches_as_on_the_platform(route: str, path: str, params: dict[str, str] | None) -> None:
    match = local_host.route_pattern(route).fullmatch(path)
    assert (match and match.groupdict()) == params
