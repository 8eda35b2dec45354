"""Every limit of a request: taken at the edge, refused just past it with the limit and its value, and at once."""

import gzip
import json
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from PIL import Image

from tests.models import encoded, squares_picture
from tests.shared.inference_http.conftest import ClientOf
from tests.shared.inference_http.wire import connected, is_closed, read_reply

DETECT, TABULAR = "/v1/models/squares-n/predict", "/v1/models/sizes-linear/predict"
INFER = "/v2/models/sizes-linear/infer"
PICTURE = squares_picture(64, 64, [(16, 32)])
ROW = {"length": 1, "width": 1, "weight": 1}


def rows(count: int, pad_to: int = 0) -> bytes:
    return json.dumps({"rows": [ROW] * count}).encode().ljust(pad_to)


def tensor(rows: int) -> bytes:
    entry = {"name": "input", "shape": [rows, 3], "datatype": "FP32", "data": [0.5] * 3 * rows}
    return json.dumps({"inputs": [entry]}).encode()


def deep(depth: int) -> bytes:
    """A body of the tabular model with an unknown key nested `depth` deep in all."""
    return rows(1)[:-1] + b', "more": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def deep_call(depth: int) -> bytes:
    return tensor(1)[:-1] + b', "parameters": {"more": ' + b"[" * (depth - 2) + b"]" * (depth - 2) + b"}}"


@dataclass(frozen=True)
class Edge:
    """A limit, a body just within it, one just past it, and how the refusal says so."""

    setting: str
    value: int
    path: str
    within: bytes
    past: bytes
    named: str
    status: int = 413


EDGES = [
    Edge("body_bytes_max", 5000, TABULAR, rows(1, 5000), rows(1, 5001), "limit of 5000 bytes"),
    Edge("body_bytes_max", 5000, INFER, tensor(1).ljust(5000), tensor(1).ljust(5001), "limit of 5000 bytes"),
    Edge("rows_max", 5, TABULAR, rows(5), rows(6), "limit of 5"),
    Edge("json_depth_max", 9, TABULAR, deep(9), deep(10), "limit of 9", 422),
    Edge("json_depth_max", 9, INFER, deep_call(9), deep_call(10), "limit of 9", 400),
    # A bracket for the document, one for its list; three values a row and commas between the rows, less one.
    Edge("json_values_max", 2 + 6 * 4 - 1, TABULAR, rows(6), rows(7), "limit of 25"),
    Edge("json_values_max", 40, INFER, tensor(10), tensor(11), "limit of 40"),
    Edge("elements_max", 30, INFER, tensor(10), tensor(11), "limit of 30"),
    Edge("pixels_max", 4096, DETECT, PICTURE, squares_picture(64, 65, []), "the limit is 4096 pixels"),
    Edge("image_side_max", 64, DETECT, PICTURE, squares_picture(65, 9, []), "limit of a side is 64 pixels"),
]


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: f"{edge.setting}-{edge.path}")
def test_a_limit_is_taken_at_its_edge_and_named_past_it(client_of: ClientOf, edge: Edge) -> None:
    client = client_of(**{edge.setting: edge.value})
    assert client.post(edge.path, content=edge.within).status_code == 200
    refused = client.post(edge.path, content=edge.past)
    assert refused.status_code == edge.status, refused.text
    assert edge.named in refused.json()["error" if edge.path == INFER else "detail"]


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("path", [TABULAR, INFER])
def test_an_inflated_body_has_the_limit_of_a_plain_one(
    client_of: ClientOf, path: str, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    client = client_of(body_bytes_max=5000)
    body = tensor(1) if path == INFER else rows(1)
    headers = {"content-encoding": encoding}
    assert client.post(path, content=compress(body.ljust(5000)), headers=headers).status_code == 200
    refused = client.post(path, content=compress(body.ljust(5001)), headers=headers)
    assert refused.status_code == 413
    assert "5000 bytes" in refused.text


def test_a_picture_may_come_compressed(client: httpx.Client) -> None:
    reply = client.post(DETECT, content=gzip.compress(PICTURE), headers={"content-encoding": "gzip"})
    assert [found["box"] for found in reply.json()["detections"]] == [[16, 32, 32, 48]]


def headed(client: httpx.Client, count: int, value: str = "x") -> httpx.Response:
    """A request with so many headers in all."""
    usual = len(client.build_request("GET", "/v2").headers)
    return client.get("/v2", headers={f"x-{number}": value for number in range(count - usual)})


@pytest.mark.parametrize("path", ["/v1/models", "/v2"])
def test_headers_are_counted(client_of: ClientOf, path: str) -> None:
    client = client_of(headers_max=20)
    assert headed(client, 20).status_code == 200
    refused = headed(client, 21)
    assert refused.status_code == 431
    assert "20 headers" in refused.json()["error"]
    assert refused.headers["connection"] == "close"


def test_the_bytes_of_a_head_are_counted_in_one_piece_or_many(client_of: ClientOf) -> None:
    client = client_of(header_bytes_max=2000)
    assert client.get("/v1/models", headers={"x-long": "x" * 1500}).status_code == 200
    refused = client.get("/v1/models", headers={"x-long": "x" * 2000})
    assert (refused.status_code, refused.json()["code"]) == (431, "headers_too_large")
    assert "2000 bytes" in refused.json()["detail"]
    assert client.get("/v1/" + "a" * 2000).status_code == 431
    with connected(client) as peer:
        for piece in (b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-long: ", *[b"x" * 500] * 4):
            peer.sendall(piece)
            time.sleep(0.02)
        reply = read_reply(peer)
        assert (reply.status, reply.json()["code"]) == (431, "headers_too_large")
        assert reply.json()["request_id"] == reply.headers["x-request-id"]
        assert is_closed(peer)


def test_a_large_body_behind_a_small_head_is_not_taken_for_headers(client_of: ClientOf) -> None:
    client = client_of(header_bytes_max=500)
    for _ in range(3):
        assert client.post(TABULAR, content=rows(1, 60_000)).status_code == 200


def test_what_is_no_http_is_400_in_shape(client: httpx.Client) -> None:
    with connected(client) as peer:
        peer.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        reply = read_reply(peer)
        assert (reply.status, reply.json()["code"]) == (400, "malformed_request")
        assert reply.headers["content-type"] == "application/problem+json"
        assert is_closed(peer)


HEAD = f"POST {TABULAR} HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n".encode()


@pytest.mark.parametrize("sent", [HEAD, HEAD + b'{"rows": ['])
def test_a_body_that_comes_too_slowly_is_cut_with_408(client_of: ClientOf, sent: bytes) -> None:
    client = client_of(body_s_max=0.3)
    with connected(client) as peer:
        peer.sendall(sent)
        reply = read_reply(peer)
        assert (reply.status, reply.json()["code"]) == (408, "body_timeout")
        assert "0.3 s" in reply.json()["detail"]
        assert is_closed(peer)
    assert client.post(TABULAR, content=rows(1)).status_code == 200


def test_a_trickle_does_not_prolong_the_time(client_of: ClientOf) -> None:
    client = client_of(body_s_max=0.3)
    stop = threading.Event()
    with connected(client) as peer, ThreadPoolExecutor(1) as pool:
        peer.sendall(HEAD)

        def trickle() -> None:
            while not stop.wait(0.05):
                try:
                    peer.sendall(b" ")
                except ConnectionError:
                    return

        pool.submit(trickle)
        assert read_reply(peer).status == 408
        stop.set()


@pytest.mark.parametrize("sent", [b"GET /v1/models HTTP/1.1\r\nhost:", b"G"])
def test_headers_that_come_too_slowly_are_cut_with_408(client_of: ClientOf, sent: bytes) -> None:
    client = client_of(body_s_max=0.3)
    with connected(client) as peer:
        peer.sendall(sent)
        reply = read_reply(peer)
        assert (reply.status, reply.json()["code"]) == (408, "body_timeout")
        assert is_closed(peer)


def test_a_connection_without_a_request_is_closed_in_silence(client_of: ClientOf) -> None:
    client = client_of(body_s_max=0.3)
    with connected(client) as peer:
        assert is_closed(peer)


def test_a_second_head_on_a_connection_has_its_own_time(client_of: ClientOf) -> None:
    client = client_of(body_s_max=0.3)
    with connected(client) as peer:
        for _ in range(3):
            peer.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
            time.sleep(0.15)
            assert b" 200 " in peer.recv(65536)
        peer.sendall(b"GET /v2/health/live HTTP/1.1\r\n")
        assert read_reply(peer).status == 408


def large_head(client: httpx.Client) -> bytes:
    return f"POST {DETECT} HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n".encode()


def test_so_many_large_bodies_are_read_at_once_and_a_place_is_free_again_when_one_ends(client_of: ClientOf) -> None:
    client = client_of(bodies_max=2, body_s_max=1.5)
    # 150 x 150 grey pixels as BMP are past the 64 KiB of a small body, and small ones need no place.
    large = squares_picture(300, 300, [(16, 32)], "BMP")
    with connected(client) as one, connected(client) as two:
        for peer in (one, two):
            peer.sendall(large_head(client))
        deadline = time.monotonic() + 10
        while (refused := client.post(DETECT, content=large)).status_code == 200:
            assert time.monotonic() < deadline
        assert refused.status_code == 503
        assert "limit of 2 bodies" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        assert client.post(DETECT, content=PICTURE).status_code == 200
        assert {read_reply(one).status, read_reply(two).status} == {408}
    assert client.post(DETECT, content=large).status_code == 200


def test_a_client_that_leaves_while_it_sends_frees_its_place(client_of: ClientOf) -> None:
    client = client_of(bodies_max=1)
    for _ in range(5):
        with connected(client) as peer:
            peer.sendall(large_head(client) + b"x" * 1000)
            time.sleep(0.02)
    deadline = time.monotonic() + 10
    while client.post(DETECT, content=squares_picture(300, 300, [], "BMP")).status_code != 200:
        assert time.monotonic() < deadline


def cost_s(call: Callable[[], object]) -> float:
    """The least time of a few calls: what else the machine does only ever adds."""
    spent_s = []
    for _ in range(5):
        started = time.perf_counter()
        call()
        spent_s.append(time.perf_counter() - started)
    return min(spent_s)


def test_a_refusal_costs_less_than_a_tenth_of_a_served_request(client_of: ClientOf) -> None:
    """Served: a picture at the limit of pixels. Refused: one just past it, and a body just past its limit."""
    client = client_of(pixels_max=9_000_000, body_bytes_max=9_500_000)
    grey = Image.effect_noise((3000, 3000), 64)
    served = encoded(grey, "BMP")

    def post(content: bytes, status: int, **headers: str) -> Callable[[], None]:
        def call() -> None:
            assert client.post(DETECT, content=content, headers=headers).status_code == status

        return call

    def announced() -> None:
        with connected(client) as peer:
            peer.sendall(f"POST {DETECT} HTTP/1.1\r\nhost: x\r\ncontent-length: 9500001\r\n\r\n".encode())
            assert read_reply(peer).status == 413

    served_s = cost_s(post(served, 200))
    assert cost_s(post(encoded(Image.new("L", (3000, 3001))), 413)) < served_s / 10
    assert cost_s(announced) < served_s / 10
    bomb = gzip.compress(bytes(400_000_000), 1)
    assert cost_s(post(bomb, 413, **{"content-encoding": "gzip"})) < served_s / 2  # inflated up to the limit, no more
