"""Calls by tensor over a real socket: where they are computed, what is counted and logged, what is described."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from inference_http.open_inference import infer_target

from tests.conformance.models import write_models
from tests.shared.inference_http.conftest import ClientOf

MODEL = "/v2/models/sizes-linear"
Infer = Callable[..., httpx.Response]


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """Instead of the tabular model and the detector alone."""
    return write_models(tmp_path / "models")


def rows(count: int = 1) -> dict[str, Any]:
    return {"inputs": [{"name": "input", "datatype": "FP32", "shape": [count, 3], "data": [1.0, 2.0, 3.0] * count}]}


def stages(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [entry.split(";")[0] for entry in reply.headers["server-timing"].split(", ")]


def test_a_quick_call_is_answered_in_the_event_loop_and_any_other_in_a_slot(client: httpx.Client) -> None:
    assert stages(client.post(f"{MODEL}/infer", json=rows())) == ["decode", "infer", "encode"]
    assert stages(client.post(f"{MODEL}/infer", json=rows(20_000)))[0] == "queue"
    text = {"inputs": [{"name": name, "datatype": "BYTES", "shape": [1], "data": ["x"]} for name in "ab"]}
    assert stages(client.post("/v2/models/joined/infer", json=text))[0] == "queue", "a model we know nothing of"


def test_a_compressed_body_is_inflated_in_a_slot(client: httpx.Client) -> None:
    body = gzip.compress(json.dumps(rows()).encode())
    reply = client.post(f"{MODEL}/infer", content=body, headers={"content-encoding": "gzip"})
    assert stages(reply)[:2] == ["queue", "inflate"]


def test_the_length_header_is_that_of_the_json_before_compression(client: httpx.Client) -> None:
    entry = {"name": "input", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}
    text = json.dumps({"inputs": [entry]}).encode()
    body = gzip.compress(text + np.array([5, 5, 5], "<f4").tobytes())
    headers = {"content-encoding": "gzip", "inference-header-content-length": str(len(text))}
    reply = client.post(f"{MODEL}/infer", content=body, headers=headers)
    assert reply.json()["outputs"][0]["data"] == [1]


def test_calls_are_counted_and_logged_as_predictions_are(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "inference.access"):
        client.post(f"{MODEL}/infer", json=rows(), headers={"x-request-id": "mine-7"})
        client.post(f"{MODEL}/infer", json={})
        metrics = client.get("/metrics").text
    assert 'inference_requests_total{model="sizes-linear",status="200"} 1.0' in metrics
    assert 'inference_requests_total{model="sizes-linear",status="400"} 1.0' in metrics
    assert 'stage="infer"' in metrics
    client.close()


def test_too_little_memory_is_logged_with_its_cause_and_answered_without(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    huge = {"inputs": [{"name": "shape", "datatype": "INT64", "shape": [1], "data": [1 << 45]}]}
    reply = client.post("/v2/models/filled/infer", json=huge, headers={"x-request-id": "huge-1"})
    assert reply.status_code == 503
    assert reply.json()["request_id"] == "huge-1"
    assert "Failed to allocate" not in reply.text
    logged = next(record for record in caplog.records if "huge-1" in record.getMessage())
    assert "Failed to allocate" in str(logged.exc_info and logged.exc_info[1])


def test_a_form_cannot_be_compressed(client: httpx.Client) -> None:
    headers = {"content-encoding": "gzip"}
    reply = client.post("/v1/models/squares-n/predict", files={"file": b"x"}, headers=headers)
    assert reply.status_code == 415


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v2/models/m/infer", ("m", None)),
        ("/v2/models/m/versions/1/infer", ("m", "1")),
        ("/v2/models/infer", None),
        ("/v2/models//infer", None),
        ("/v2/models/m/versions//infer", None),
        ("/v2/models/m/other/1/infer", None),
        ("/v2/models/m/infer/", None),
        ("/v1/models/m/infer", None),
    ],
)
def test_a_path_names_a_model_and_perhaps_a_version(path: str, target: tuple[str, str | None] | None) -> None:
    assert infer_target(path) == target


def test_the_description_covers_every_route_and_tells_the_truth(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    for path in (MODEL, f"{MODEL}/versions/1"):
        described = path.replace("sizes-linear", "{name}").replace("/1", "/{version}")
        for rest in ("", "/ready", "/config", "/stats"):
            assert client.get(f"{path}{rest}").status_code == 200
            operation = document["paths"][f"{described}{rest}"]["get"]
            assert [parameter["in"] for parameter in operation["parameters"]] == ["path"] * described.count("{")
        assert "200" in document["paths"][f"{described}/infer"]["post"]["responses"]
    schemas = document["components"]["schemas"]
    reply = client.post(f"{MODEL}/infer", json=rows() | {"id": "7"}).json()
    assert reply.keys() == schemas["InferReply"]["properties"].keys()
    assert client.post(f"{MODEL}/infer", json={}).json().keys() == schemas["TensorError"]["properties"].keys()


def test_a_limit_on_elements_holds(client_of: ClientOf) -> None:
    reply = client_of(elements_max=5).post(f"{MODEL}/infer", json=rows(2))
    assert reply.status_code == 413
    assert "limit of 5" in reply.json()["error"]
