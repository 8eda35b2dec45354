"""A service under more load than it can bear: refusals at once, no slot lost, everything else alive."""

import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from tests.models import squares_picture
from tests.shared.inference_http.conftest import ClientOf

PICTURE = squares_picture(64, 64, [(0, 0)])
DETECT = "/v1/models/squares-n/predict"
SLOW_S = 1.0


def figure(client: httpx.Client, name: str) -> float:
    """One figure of /metrics."""
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(name + " ")).split()[1])


def wait_for(client: httpx.Client, name: str, value: float) -> None:
    deadline = time.monotonic() + 20
    while figure(client, name) != value:
        assert time.monotonic() < deadline, f"{name} is {figure(client, name)}, not {value}"
        time.sleep(0.01)


def abandoned(client: httpx.Client) -> socket.socket:
    """A connection with a whole predict request on it, whose answer nobody has read yet."""
    peer = socket.create_connection((client.base_url.host, client.base_url.port or 0), 10)
    head = f"POST {DETECT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(PICTURE)}\r\n\r\n"
    peer.sendall(head.encode() + PICTURE)
    return peer


@pytest.fixture
def slow(client_of: ClientOf) -> httpx.Client:
    """One slot, one place to wait, every answer late by SLOW_S."""
    return client_of(slots=1, queue_max=1, fault_delay_s=SLOW_S)


def test_what_finds_no_place_is_503_with_retry_after_while_the_others_are_answered(slow: httpx.Client) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers: list[Future[httpx.Response]] = []
        for name in ("inference_in_flight", "inference_waiting"):
            answers.append(pool.submit(slow.post, DETECT, content=PICTURE))
            wait_for(slow, name, 1)
        refused = slow.post(DETECT, content=PICTURE)
        assert not any(answer.done() for answer in answers)
        assert [answer.result().status_code for answer in answers] == [200, 200]
    assert refused.status_code == 503
    assert refused.json()["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1
    assert figure(slow, "inference_refused_total") == 1
    first, second = (answer.result().json()["timings_ms"]["queue"] for answer in answers)
    assert second > first


def test_health_answers_while_every_slot_works(slow: httpx.Client) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(slow.post, DETECT, content=PICTURE)
        wait_for(slow, "inference_in_flight", 1)
        assert slow.get("/v2/health/ready").status_code == 200
        assert not answer.done()
        assert answer.result().status_code == 200


def test_a_late_tabular_answer_does_not_stop_the_event_loop(slow: httpx.Client) -> None:
    rows = {"rows": [{"length": 1, "width": 1, "weight": 1}]}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(slow.post, "/v1/models/sizes-linear/predict", json=rows)
        wait_for(slow, "inference_in_flight", 1)
        assert not answer.done()
        assert answer.result().json()["timings_ms"]["fault"] == SLOW_S * 1e3


def test_a_client_that_leaves_keeps_its_slot_busy_until_the_work_has_ended(slow: httpx.Client) -> None:
    with abandoned(slow):
        wait_for(slow, "inference_in_flight", 1)
    answer = slow.post(DETECT, content=PICTURE)
    assert answer.status_code == 200
    # It had to wait for the abandoned work: two at once would have kept it from waiting.
    assert answer.json()["timings_ms"]["queue"] > 0
    wait_for(slow, "inference_in_flight", 0)


def test_a_client_that_leaves_while_it_waits_frees_its_place(slow: httpx.Client) -> None:
    with abandoned(slow):
        wait_for(slow, "inference_in_flight", 1)
        with abandoned(slow):
            wait_for(slow, "inference_waiting", 1)
        wait_for(slow, "inference_waiting", 0)
        assert slow.post(DETECT, content=PICTURE).status_code == 200
    left = 'inference_requests_total{model="squares-n",status="499"}'
    assert figure(slow, left) == 1


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf", ""])
def test_a_deadline_that_is_none_is_refused(client: httpx.Client, value: str) -> None:
    reply = client.post(f"{DETECT}?deadline_ms={value}", content=PICTURE)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")
    assert "deadline_ms" in reply.json()["detail"]


@pytest.mark.parametrize(("setting_ms", "query"), [(0, "?deadline_ms=500"), (500, "")])
def test_a_deadline_that_cannot_be_met_is_503_at_once(client_of: ClientOf, setting_ms: int, query: str) -> None:
    slow = client_of(slots=1, queue_max=9, fault_delay_s=SLOW_S, deadline_ms=setting_ms)
    assert slow.post(DETECT + query, content=PICTURE).status_code == 200  # late, but a free slot is given
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(slow.post, DETECT, content=PICTURE)
        wait_for(slow, "inference_in_flight", 1)
        refused = slow.post(DETECT + query, content=PICTURE)
        assert not answer.done()
        assert (refused.status_code, refused.json()["code"]) == (503, "deadline_unmet")
        assert int(refused.headers["retry-after"]) >= 1
        patient = slow.post(f"{DETECT}?deadline_ms=60000", content=PICTURE)
        assert patient.status_code == 200
        assert answer.result().status_code == 200


def test_a_client_that_leaves_ends_its_work_between_tiles(client_of: ClientOf) -> None:
    # At this size the picture is thousands of tiles: seconds of work.
    client = client_of(slots=1, queue_max=0)
    large = squares_picture(3000, 3000, [], "BMP")
    started = time.monotonic()
    assert client.post(DETECT, content=large).status_code == 200
    whole_s = time.monotonic() - started
    peer = socket.create_connection((client.base_url.host, client.base_url.port or 0), 10)
    with peer:
        peer.sendall(f"POST {DETECT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(large)}\r\n\r\n".encode() + large)
        wait_for(client, "inference_in_flight", 1)
    started = time.monotonic()
    wait_for(client, "inference_in_flight", 0)
    assert time.monotonic() - started < whole_s / 2
    assert figure(client, 'inference_requests_total{model="squares-n",status="499"}') == 1
