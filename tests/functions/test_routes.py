"""What the function tier answers, over HTTP."""

import tomllib
from typing import Any

import httpx
import pytest

from tests.conftest import PROJECT
from tests.functions.conftest import PREDICT

NAMES = ["breast-cancer-boosted", "breast-cancer-forest", "breast-cancer-logistic"]


def test_a_row_is_answered_with_label_probabilities_and_times(client: httpx.Client, golden: dict[str, Any]) -> None:
    reply = client.post(PREDICT, json={"rows": golden["rows"]})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    answer = reply.json()
    assert list(answer) == ["model", "predictions", "timings_ms", "hosting"]
    assert answer["model"] == "breast-cancer-boosted"
    assert answer["hosting"] == reply.headers["inference-hosting"] == "cpu"
    for found, wanted in zip(answer["predictions"], golden["predictions"], strict=True):
        assert found["label"] == wanted["label"]
        assert found["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)
    stages = dict(stage.split(";dur=") for stage in reply.headers["server-timing"].split(", "))
    assert {name: float(spent_ms) for name, spent_ms in stages.items()} == answer["timings_ms"]


def test_a_family_is_answered_by_its_most_accurate_model(client: httpx.Client, row: dict[str, Any]) -> None:
    models = client.get("/v1/models").json()["models"]
    best = max(models, key=lambda model: model["accuracy"]["value"])["name"]
    assert client.post("/v1/models/breast-cancer/predict", json={"rows": [row]}).json()["model"] == best
    assert client.get("/v1/models/breast-cancer").json()["name"] == best


def test_the_tabular_models_are_listed(client: httpx.Client) -> None:
    models = client.get("/v1/models").json()["models"]
    assert [model["name"] for model in models] == NAMES
    assert client.get(f"/v1/models/{NAMES[0]}").json() == models[0]
    assert len(models[0]["columns"]) == 30


def test_the_server_says_what_it_stands_on(client: httpx.Client) -> None:
    server = client.get("/v2").json()
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert server["name"] == "inference-tiers"
    assert server["version"] == version
    assert server["models"] == NAMES
    assert (server["hosting"], server["threads"], server["slots"]) == ("cpu", 1, 1)


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_health_answers_by_status(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    assert (reply.status_code, reply.content) == (200, b"")
    assert reply.headers["inference-hosting"] == "cpu"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "route_not_found"),
        ("GET", "/v1", 404, "route_not_found"),
        ("POST", "/v1/models/breast-cancer/forecast", 404, "route_not_found"),
        ("GET", "/v1/models/board-defects-n", 404, "model_not_found"),
        ("POST", "/v1/models/nothing%20at%2Fall/predict", 404, "model_not_found"),
        ("GET", PREDICT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
    ],
)
def test_a_wrong_path_or_method_is_a_problem(
    client: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    reply = client.request(method, path, headers={"x-request-id": "mine"})
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert (problem["status"], problem["code"], problem["request_id"]) == (status, code, "mine")
    assert ("allow" in reply.headers) == (status == 405)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v2/nothing", 404), ("POST", "/v2/health/live", 405)])
def test_under_v2_an_error_is_one_text(client: httpx.Client, method: str, path: str, status: int) -> None:
    reply = client.request(method, path)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["error"].endswith(".")


def test_an_odd_request_id_is_not_repeated(client: httpx.Client) -> None:
    reply = client.get("/nothing", headers={"x-request-id": "a b\tc"})
    assert "\t" not in reply.json()["request_id"]
