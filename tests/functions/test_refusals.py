"""What the function tier refuses, and that it says what to mend."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import azure.functions as func
import function_app
import httpx
import pytest

from tests.functions.conftest import PREDICT, hosting

COLUMN = "worst_area"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    log = tmp_path_factory.mktemp("limited") / "log"
    with hosting(log, INFERENCE_ROWS_MAX="3", INFERENCE_BODY_BYTES_MAX="8000") as running:
        yield running.client


def refused(reply: httpx.Response, status: int, code: str) -> str:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == code
    detail: str = reply.json()["detail"]
    return detail


@pytest.mark.parametrize(
    "value", ['"1"', "null", "true", "NaN", "Infinity", "-Infinity", "1e39", "1" + "0" * 400, "[1]", '{"a": 1}']
)
def test_a_value_that_is_no_number_is_named(client: httpx.Client, row: dict[str, Any], value: str) -> None:
    good, bad = json.dumps(row), json.dumps(row | {COLUMN: 0}).replace(f'"{COLUMN}": 0', f'"{COLUMN}": {value}')
    reply = client.post(PREDICT, content=f'{{"rows": [{good}, {bad}]}}')
    detail = refused(reply, 422, "invalid_request")
    assert f'"{COLUMN}"' in detail
    assert "Row 1" in detail


def test_a_missing_column_is_named(client: httpx.Client, row: dict[str, Any]) -> None:
    del row[COLUMN]
    assert f'column "{COLUMN}" is missing' in refused(
        client.post(PREDICT, json={"rows": [row]}), 422, "invalid_request"
    )


def test_an_unknown_column_is_named(client: httpx.Client, row: dict[str, Any]) -> None:
    reply = client.post(PREDICT, json={"rows": [row | {"worst_taste": 1}]})
    assert 'column "worst_taste" is unknown' in refused(reply, 422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"rows",
            b"[1]",
            b'{"rows": []}',
            b'{"rows": {}}',
            b'{"rows": null}',
            b'{"rows": [1]}',
            b'{"rows": [null]}',
        ),
        *(b'{"rows": [{"a": 1}', b'{"row": [{}]}', b"\xff\xfe\x00", b'{"rows": ' + b"[" * 100_000, b"null"),
    ],
)
def test_a_body_without_rows_is_refused(client: httpx.Client, body: bytes) -> None:
    refused(client.post(PREDICT, content=body), 422, "invalid_request")


def test_rows_that_overflow_inside_the_model_are_refused(client: httpx.Client, row: dict[str, Any]) -> None:
    reply = client.post("/v1/models/breast-cancer-logistic/predict", json={"rows": [row, dict.fromkeys(row, 3e38)]})
    assert "Row 1" in refused(reply, 422, "invalid_request")


@pytest.mark.parametrize("scale", ["half", "0.5", ""])
def test_a_scale_is_refused(client: httpx.Client, row: dict[str, Any], scale: str) -> None:
    detail = refused(client.post(PREDICT, json={"rows": [row]}, params={"scale": scale}), 422, "invalid_request")
    assert "scale" in detail


def test_a_compressed_body_is_refused(client: httpx.Client) -> None:
    reply = client.post(PREDICT, content=b"x", headers={"content-encoding": "br"})
    refused(reply, 415, "unsupported_media")


def test_too_many_rows_are_refused(limited: httpx.Client, row: dict[str, Any]) -> None:
    assert limited.post(PREDICT, json={"rows": [row] * 3}).status_code == 200
    assert "limit of 3" in refused(limited.post(PREDICT, json={"rows": [row] * 4}), 413, "too_large")


def test_too_large_a_body_is_refused(limited: httpx.Client) -> None:
    assert "limit of 8000 bytes" in refused(limited.post(PREDICT, content=b" " * 8001), 413, "too_large")


def test_an_unexpected_fault_is_logged_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    # The platform never leaves out a route parameter, so nothing in the handler expects it.
    reply = function_app.predict(
        func.HttpRequest("POST", f"http://host{PREDICT}", headers={"x-request-id": "mine"}, body=b"{}")
    )
    problem = json.loads(reply.get_body())
    assert (reply.status_code, reply.mimetype) == (500, "application/problem+json")
    assert problem["code"] == "internal"
    assert "name" not in problem["detail"]
    assert "KeyError: 'name'" in caplog.text
    assert "request_id=mine" in caplog.text


def test_a_broken_models_folder_stops_the_start_in_one_sentence(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        pytest.raises(AssertionError, match="did not start"),
        hosting(log, INFERENCE_MODELS_DIR=str(tmp_path)),
    ):
        pass
    assert log.read_text().startswith("error: INFERENCE_MODELS_DIR=")
    assert len(log.read_text().splitlines()) == 1
