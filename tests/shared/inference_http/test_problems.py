"""Whatever goes wrong is said in the shape the route promises, with a stable code, and nothing of ours leaks."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from inference_core.manifest import Manifest, read_manifest
from inference_core.registry import Registry
from inference_core.results import Prediction
from inference_core.session import Session
from inference_core.settings import Settings
from inference_http.app import create_app
from inference_http.service import Service

from tests.models import squares_picture
from tests.shared.inference_http.conftest import ClientOf

DETECT, TABULAR = "/v1/models/squares-n/predict", "/v1/models/sizes-linear/predict"
PICTURE = squares_picture(64, 64, [(0, 0)])


def problem(reply: httpx.Response, status: int, code: str) -> str:
    """The detail of the problem that `reply` must be."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    body = reply.json()
    assert (body["status"], body["code"], body["request_id"]) == (status, code, reply.headers["x-request-id"])
    assert {"type", "title"} <= body.keys()
    return str(body["detail"])


def test_an_unknown_model_is_404_and_names_those_served(client: httpx.Client) -> None:
    assert "squares-n" in problem(client.post("/v1/models/cats/predict", content=b"x"), 404, "model_not_found")
    problem(client.get("/v1/models/cats"), 404, "model_not_found")


def test_an_unknown_path_is_404(client: httpx.Client) -> None:
    problem(client.get("/v1/nothing"), 404, "route_not_found")
    problem(client.get("/favicon.ico"), 404, "route_not_found")
    problem(client.post("/v1/models/a/b/predict"), 404, "route_not_found")


@pytest.mark.parametrize(("method", "path", "allow"), [("GET", TABULAR, "POST"), ("POST", "/v1/models", "GET")])
def test_a_wrong_method_is_405_and_says_which_is_right(
    client: httpx.Client, method: str, path: str, allow: str
) -> None:
    reply = client.request(method, path)
    assert allow in problem(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == allow


@pytest.mark.parametrize(
    ("path", "content", "status", "code"),
    [
        (DETECT, b"", 415, "unsupported_media"),
        (DETECT, b"no picture", 415, "unsupported_media"),
        (DETECT, PICTURE[:60], 422, "unreadable_image"),
        (DETECT + "?scale=0", PICTURE, 422, "invalid_request"),
        (DETECT + "?scale=nan", PICTURE, 422, "invalid_request"),
        (DETECT + "?scale=half", PICTURE, 422, "invalid_request"),
        (DETECT + "?scale=", PICTURE, 422, "invalid_request"),
        (TABULAR, b"", 422, "invalid_request"),
        (TABULAR, b"[1]", 422, "invalid_request"),
        (TABULAR, b'{"rows": [{"length": NaN, "width": 1, "weight": 1}]}', 422, "invalid_request"),
        (TABULAR, b"[" * 60_000, 422, "invalid_request"),
        (TABULAR + "?scale=0.5", b'{"rows": [{"length": 1, "width": 1, "weight": 1}]}', 422, "invalid_request"),
    ],
)
def test_content_that_cannot_be_used_says_why(
    client: httpx.Client, path: str, content: bytes, status: int, code: str
) -> None:
    problem(client.post(path, content=content), status, code)


def test_a_row_at_fault_is_named(client: httpx.Client) -> None:
    row = {"length": 1, "width": 1, "weight": "heavy"}
    assert '"weight"' in problem(client.post(TABULAR, json={"rows": [row]}), 422, "invalid_request")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'),
    ],
)
def test_a_form_without_a_file_is_422(client: httpx.Client, kind: str, content: bytes) -> None:
    problem(client.post(DETECT, content=content, headers={"content-type": kind}), 422, "invalid_request")


def test_a_form_with_two_files_is_422(client: httpx.Client) -> None:
    problem(client.post(DETECT, files={"a": PICTURE, "b": PICTURE}), 422, "invalid_request")


def test_a_body_compressed_in_a_way_that_is_not_read_is_415(client: httpx.Client) -> None:
    reply = client.post(TABULAR, content=b"\x1f\x8b", headers={"content-encoding": "br"})
    problem(reply, 415, "unsupported_media")


def test_a_body_over_the_limit_is_413_whether_announced_or_not(client_of: ClientOf) -> None:
    client = client_of(body_bytes_max=5000)

    def pieces() -> Iterator[bytes]:
        for _ in range(6):
            yield b"x" * 1000

    assert "5000" in problem(client.post(DETECT, content=b"x" * 5001), 413, "too_large")
    assert "5000" in problem(client.post(DETECT, content=pieces()), 413, "too_large")
    problem(client.post(DETECT, files={"file": b"x" * 5000}), 413, "too_large")
    problem(client.post(DETECT, content=b"x" * 5000), 415, "unsupported_media")


def test_an_announced_body_over_the_limit_is_refused_before_it_is_sent(client_of: ClientOf) -> None:
    url = client_of(body_bytes_max=5000).base_url
    with socket.create_connection((url.host, url.port), 10) as peer:
        peer.sendall(f"POST {DETECT} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n".encode())
        assert peer.recv(100).startswith(b"HTTP/1.1 413 ")


def test_on_v2_an_error_is_one_text_as_tritonclient_reads_it(client: httpx.Client) -> None:
    for method, path, status in (("GET", "/v2/nothing", 404), ("DELETE", "/v2", 405)):
        reply = client.request(method, path)
        assert reply.status_code == status
        assert isinstance(reply.json()["error"], str)


class Broken:
    """A pipeline with a bug."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.session = Session(manifest.model_bytes, threads=1)

    def predict(self, body: bytes, *, scale: float = 1.0, **_: object) -> Prediction:
        raise RuntimeError(f"secret of the machine, {len(body)} bytes, {scale}")


@pytest.mark.parametrize("path", [DETECT, TABULAR])
def test_our_own_fault_is_500_told_in_the_log_and_not_to_the_caller(
    client_of: ClientOf, models_dir: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    registry = Registry([Broken(read_manifest(models_dir / name)) for name in ("squares-n", "sizes-linear")])
    service = Service(registry, Settings(), "cpu", threads=1, cores=1, quota_cores=None)
    reply = client_of(create_app(service)).post(path, content=PICTURE)
    problem(reply, 500, "internal")
    assert "secret" not in reply.text
    logged = [record for record in caplog.records if record.name == "inference.fault"]
    assert reply.headers["x-request-id"] in logged[0].getMessage()
    assert "secret of the machine" in str(logged[0].exc_info)


@pytest.mark.parametrize("given", ["abc-1.2:3_4", "a" * 80])
def test_a_sane_request_id_is_kept(client: httpx.Client, given: str) -> None:
    assert client.get("/v2", headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a" * 81, "a b", 'x"}', "ä".encode()])
def test_any_other_request_id_is_replaced(client: httpx.Client, given: str | bytes) -> None:
    sent = given.encode() if isinstance(given, str) else given
    reply = client.get("/v1/none", headers=[(b"x-request-id", sent)])
    made = reply.headers["x-request-id"]
    assert made.encode() != sent
    assert json.loads(reply.content)["request_id"] == made


def test_request_ids_differ(client: httpx.Client) -> None:
    assert len({client.get("/v2/health/live").headers["x-request-id"] for _ in range(20)}) == 20
