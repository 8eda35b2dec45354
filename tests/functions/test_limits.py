"""The limits that the function has in common with the other tiers: taken at the edge, named just past it."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.functions.conftest import PREDICT, hosting

INFER = "/v2/models/breast-cancer-boosted/infer"
COLUMNS = 30
DEPTH = 7
VALUES = 100


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = {
        "INFERENCE_BODY_BYTES_MAX": "8000",
        "INFERENCE_JSON_DEPTH_MAX": str(DEPTH),
        "INFERENCE_JSON_VALUES_MAX": str(VALUES),
        "INFERENCE_ELEMENTS_MAX": str(2 * COLUMNS),
    }
    with hosting(tmp_path_factory.mktemp("limited") / "log", **settings) as running:
        yield running.client


def rows(row: dict[str, Any], count: int = 1, depth: int = 3) -> bytes:
    more = "[" * (depth - 1) + "]" * (depth - 1)
    return json.dumps({"rows": [row] * count}).encode()[:-1] + f', "more": {more}}}'.encode()


def tensor(count: int) -> bytes:
    entry = {"name": "input", "shape": [count, COLUMNS], "datatype": "FP32", "data": [1.0] * COLUMNS * count}
    return json.dumps({"inputs": [entry]}).encode()


def text(reply: httpx.Response) -> str:
    return str(reply.json().get("detail") or reply.json()["error"])


def test_the_depth_of_json(limited: httpx.Client, row: dict[str, Any]) -> None:
    assert limited.post(PREDICT, content=rows(row, depth=DEPTH)).status_code == 200
    refused = limited.post(PREDICT, content=rows(row, depth=DEPTH + 1))
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert f"limit of {DEPTH}" in text(refused)


def test_the_values_of_json(limited: httpx.Client, row: dict[str, Any]) -> None:
    assert limited.post(PREDICT, content=rows(row, 2)).status_code == 200
    refused = limited.post(PREDICT, content=rows(row, 4))
    assert refused.status_code == 413
    assert f"limit of {VALUES}" in text(refused)


def test_the_elements_of_a_tensor(limited: httpx.Client) -> None:
    assert limited.post(INFER, content=tensor(2)).status_code == 200
    refused = limited.post(INFER, content=tensor(3))
    assert refused.status_code == 413
    assert f"limit of {2 * COLUMNS}" in text(refused)


@pytest.mark.parametrize("path", [PREDICT, INFER])
def test_the_bytes_of_a_body_inflated_or_not(limited: httpx.Client, row: dict[str, Any], path: str) -> None:
    body = tensor(1) if path == INFER else rows(row)
    for headers, packed in (({}, bytes), ({"content-encoding": "gzip"}, gzip.compress)):
        assert limited.post(path, content=packed(body.ljust(8000)), headers=headers).status_code == 200
        refused = limited.post(path, content=packed(body.ljust(8001)), headers=headers)
        assert refused.status_code == 413
        assert "limit of 8000 bytes" in text(refused)


def test_a_refusal_has_its_request_id_in_header_and_body(limited: httpx.Client) -> None:
    for path in ("/v1/nothing", "/v2/nothing"):
        refused = limited.get(path, headers={"x-request-id": "mine-1"})
        assert refused.headers["x-request-id"] == refused.json()["request_id"] == "mine-1"
