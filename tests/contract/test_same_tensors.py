"""The same request bytes on `/v2` get byte-identical bodies from every tier, refusals included."""

import gzip
import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest

from tests.conformance.models import write_models
from tests.tiers import TIERS, running

LENGTH = "inference-header-content-length"
MODEL = "/v2/models/sizes-linear"
ROWS = {"name": "input", "datatype": "FP32", "shape": [2, 3], "data": [1, 1, 1, 2.5, 0, -1]}
RAW_ROWS = np.array(ROWS["data"], "<f4").tobytes()
BODY_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class Request:
    """What is sent."""

    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"


def infer(document: Any, raw: bytes = b"", *, path: str = MODEL, **headers: str) -> Request:
    """An infer call of `document`, and of `raw` behind it."""
    text = json.dumps(document).encode()
    framed = {LENGTH: str(len(text))} if raw else {}
    return Request(
        f"{path}/infer", text + raw, framed | {key.replace("_", "-"): value for key, value in headers.items()}
    )


def of_length(text: str) -> Request:
    """An infer call in JSON whose length header is `text`."""
    return Request(f"{MODEL}/infer", DOCUMENT, {LENGTH: text})


def compressed(body: bytes, encoding: str) -> Request:
    """An infer call that is compressed."""
    return Request(f"{MODEL}/infer", body, {"content-encoding": encoding})


BINARY_ROWS = {"name": "input", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}
BINARY_OUT = {"binary_data_output": True}
TEXTS = [{"name": name, "datatype": "BYTES", "shape": [2], "data": ["né", '"\n']} for name in "ab"]
DOCUMENT = json.dumps({"inputs": [ROWS]}).encode()

SERVED = ("sizes-linear", "every-type", "product", "any-rank", "maps", "brain-input", "brain-output")
DESCRIPTIONS = ("", "/ready", "/config")
DESCRIBED = [
    f"/v2/models/{name}{version}{rest}" for name in SERVED for version in ("", "/versions/1") for rest in DESCRIPTIONS
]
UNKNOWN = [f"/v2/models/{name}{rest}" for name in ("sizes", "né", "sizes-linear/versions/2") for rest in DESCRIPTIONS]
ANSWERED = {
    "JSON": infer({"inputs": [ROWS]}),
    "an id and a version": infer({"id": "né-7", "inputs": [ROWS]}, path=f"{MODEL}/versions/1"),
    "binary in": infer({"inputs": [BINARY_ROWS]}, RAW_ROWS),
    "binary out": infer({"inputs": [ROWS], "parameters": BINARY_OUT}),
    "binary both ways": infer({"inputs": [BINARY_ROWS], "parameters": BINARY_OUT}, RAW_ROWS),
    "one output": infer({"inputs": [ROWS], "outputs": [{"name": "label", "parameters": {"binary_data": True}}]}),
    "raw": Request(f"{MODEL}/infer", RAW_ROWS, {LENGTH: "0"}),
    "gzip": compressed(gzip.compress(DOCUMENT), "gzip"),
    "deflate": compressed(zlib.compress(DOCUMENT), "Deflate"),
    "a reply to be compressed is not": infer({"inputs": [ROWS]}, accept_encoding="gzip, deflate, br"),
    "headers without a meaning here": infer({"inputs": [ROWS]}, prefer="respond-async", x_other="1"),
    "texts": infer({"inputs": TEXTS}, path="/v2/models/joined"),
    "texts, binary": infer({"inputs": TEXTS, "parameters": BINARY_OUT}, path="/v2/models/joined"),
    "sequences and maps": infer(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 1e-7]}]}, path="/v2/models/maps"
    ),
    "not a number": infer(
        {
            "inputs": [
                {"name": "a", "datatype": "FP32", "shape": [2, 1], "parameters": {"binary_data_size": 8}},
                {"name": "b", "datatype": "FP32", "shape": [1, 1], "data": [1]},
            ]
        },
        struct.pack("<ff", float("nan"), float("-inf")),
        path="/v2/models/product",
    ),
}
REFUSED: dict[str, tuple[int, Request]] = {
    "no JSON": (400, Request(f"{MODEL}/infer", b"{")),
    "no inputs": (400, infer({})),
    "no such input": (400, infer({"inputs": [ROWS | {"name": "né\ud800"}]})),
    "another shape": (400, infer({"inputs": [ROWS | {"shape": [3, 2]}]})),
    "another datatype": (400, infer({"inputs": [ROWS | {"datatype": "FP64"}]})),
    "half a surrogate as an id": (400, infer({"id": "\ud800", "inputs": [ROWS]})),
    "half a surrogate as a text": (
        400,
        infer({"inputs": [TEXTS[0], TEXTS[1] | {"data": ["\udfff", ""]}]}, path="/v2/models/joined"),
    ),
    "too few values": (400, infer({"inputs": [ROWS | {"data": [1]}]})),
    "bytes that are not there": (400, infer({"inputs": [BINARY_ROWS]}, RAW_ROWS[:20])),
    "bytes too many": (400, infer({"inputs": [BINARY_ROWS]}, RAW_ROWS + b"more")),
    "a length that is no number": (400, of_length("twelve")),
    "a negative length": (400, of_length("-1")),
    "a length beyond the body": (400, of_length("100000")),
    "values the model refuses": (
        400,
        infer({"inputs": [{"name": "i", "datatype": "INT64", "shape": [1], "data": [9]}]}, path="/v2/models/gather"),
    ),
    "a type that is not carried": (
        400,
        infer(
            {"inputs": [{"name": "x", "datatype": "BF16", "shape": [1], "data": [9]}]}, path="/v2/models/brain-input"
        ),
    ),
    "too much memory": (
        503,
        infer(
            {"inputs": [{"name": "shape", "datatype": "INT64", "shape": [1], "data": [1 << 45]}]},
            path="/v2/models/filled",
        ),
    ),
    "more elements than the limit": (413, infer({"inputs": [ROWS | {"shape": [1 << 40, 3]}]})),
    "too large": (413, Request(f"{MODEL}/infer", b" " * (BODY_BYTES_MAX + 1))),
    "too large once inflated": (413, compressed(gzip.compress(b" " * (BODY_BYTES_MAX + 1)), "gzip")),
    "no gzip": (422, compressed(DOCUMENT, "gzip")),
    "half a gzip": (422, compressed(gzip.compress(DOCUMENT)[:-9], "gzip")),
    "another encoding": (415, compressed(DOCUMENT, "br")),
    "no such model": (404, infer({"inputs": [ROWS]}, path="/v2/models/nothing")),
    "a family": (404, infer({"inputs": [ROWS]}, path="/v2/models/sizes")),
    "no such version": (404, infer({"inputs": [ROWS]}, path=f"{MODEL}/versions/2")),
    "no such route": (404, Request("/v2/repository/index", b"{}")),
    "infer by GET": (405, Request(f"{MODEL}/infer", method="GET")),
    "metadata by POST": (405, Request(MODEL, b"{}")),
}


@pytest.fixture(scope="module")
def tiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, httpx.Client]]:
    folder = tmp_path_factory.mktemp("tensors")
    settings = {
        "INFERENCE_MODELS_DIR": str(write_models(folder / "models")),
        # Not the detector: what is not found lists what is served, and the function serves no pictures.
        "INFERENCE_MODELS": "sizes,tensors",
        "INFERENCE_BODY_BYTES_MAX": str(BODY_BYTES_MAX),
    }
    with ExitStack() as stack:
        yield {tier: stack.enter_context(running(tier, folder / f"{tier}.log", **settings)) for tier in TIERS}


def answers(tiers: dict[str, httpx.Client], request: Request) -> list[httpx.Response]:
    headers = request.headers | {"x-request-id": "the-same"}
    return [
        client.request(request.method, request.path, content=request.body, headers=headers) for client in tiers.values()
    ]


def same(replies: list[httpx.Response]) -> httpx.Response:
    """The one answer that all tiers gave."""
    first, *others = replies
    for other in others:
        assert (other.status_code, other.content) == (first.status_code, first.content)
        for header in ("content-type", LENGTH, "allow") if first.content else ():
            assert other.headers.get(header) == first.headers.get(header)
    return first


@pytest.mark.parametrize("path", DESCRIBED)
def test_a_model_is_described_alike(tiers: dict[str, httpx.Client], path: str) -> None:
    reply = same(answers(tiers, Request(path, method="GET")))
    assert reply.status_code == 200
    assert bool(reply.content) is not path.endswith("/ready"), "ready answers by status alone"


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_unknown_model_family_or_version_is_refused_alike(tiers: dict[str, httpx.Client], path: str) -> None:
    assert same(answers(tiers, Request(path, method="GET"))).status_code == 404


@pytest.mark.parametrize("name", ANSWERED)
def test_a_call_is_answered_alike(tiers: dict[str, httpx.Client], name: str) -> None:
    reply = same(answers(tiers, ANSWERED[name]))
    assert reply.status_code == 200, reply.text
    assert "content-encoding" not in reply.headers
    assert (reply.headers["content-type"] == "application/octet-stream") == (LENGTH in reply.headers)
    assert "infer;dur=" in reply.headers["server-timing"]
    length = int(reply.headers.get(LENGTH, len(reply.content)))
    assert json.loads(reply.content[:length])["outputs"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_is_refused_alike(tiers: dict[str, httpx.Client], name: str) -> None:
    status, request = REFUSED[name]
    reply = same(answers(tiers, request))
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    error = reply.json()
    assert list(error) == ["error", "request_id"]
    assert error["request_id"] == "the-same"
    for private in ("onnxruntime", ".cc", ".h:", "Traceback"):
        assert private not in error["error"]


def test_statistics_differ_in_nothing_but_their_figures(tiers: dict[str, httpx.Client]) -> None:
    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(each) for key, each in value.items()}
        return [shape(each) for each in value] if isinstance(value, list) else type(value).__name__

    for path in (f"{MODEL}/stats", f"{MODEL}/versions/1/stats"):
        function, container, gpu = (client.get(path).json() for client in tiers.values())
        assert shape(function) == shape(container) == shape(gpu)
        assert function["model_stats"][0]["name"] == "sizes-linear"


def test_servers_differ_in_nothing_but_what_they_stand_on(tiers: dict[str, httpx.Client]) -> None:
    function, container, gpu = (client.get("/v2").json() for client in tiers.values())
    for key in ("name", "version", "extensions", "onnxruntime"):
        assert function[key] == container[key] == gpu[key]


@pytest.mark.parametrize("tier", TIERS)
def test_predictions_and_calls_by_tensor_both_count(tiers: dict[str, httpx.Client], tier: str) -> None:
    client = tiers[tier]

    def counted() -> tuple[int, int]:
        found = client.get(f"{MODEL}/stats").json()["model_stats"][0]
        return found["inference_count"], found["inference_stats"]["fail"]["count"]

    before = counted()
    row = {"length": 1, "width": 1, "weight": 2}
    assert client.post("/v1/models/sizes-linear/predict", json={"rows": [row]}).status_code == 200
    assert client.post("/v1/models/sizes-linear/predict", json={"rows": []}).status_code == 422
    answers({tier: client}, ANSWERED["JSON"])
    answers({tier: client}, REFUSED["another shape"][1])
    assert counted() == (before[0] + 2, before[1] + 2)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_predict_takes_compressed_bodies_too(tiers: dict[str, httpx.Client], tier: str, encoding: str) -> None:
    body = json.dumps({"rows": [{"length": 1, "width": 1, "weight": 2}]}).encode()
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    path = "/v1/models/sizes-linear/predict"
    reply = tiers[tier].post(path, content=packed, headers={"content-encoding": encoding})
    assert reply.status_code == 200, reply.text
    assert reply.json()["predictions"] == tiers[tier].post(path, content=body).json()["predictions"]
