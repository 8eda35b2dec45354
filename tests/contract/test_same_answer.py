"""Each model's golden inputs give its golden answers on every tier that serves it, and the tiers agree exactly."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from inference_core.registry import read_manifests

from tests.conftest import PROJECT
from tests.tiers import TIERS, running

MODELS = PROJECT / "shared" / "models"
MANIFESTS = {manifest.name: manifest for manifest in read_manifests(MODELS)}
SERVED_BY = {"classification": TIERS, "regression": TIERS, "detection": ("container", "gpu")}
TABULAR = [name for name, manifest in MANIFESTS.items() if manifest.task != "detection"]
DETECTORS = [name for name, manifest in MANIFESTS.items() if manifest.task == "detection"]


@pytest.fixture(scope="module")
def tiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, httpx.Client]]:
    logs = tmp_path_factory.mktemp("tiers")
    with ExitStack() as stack:
        yield {tier: stack.enter_context(running(tier, logs / f"{tier}.log")) for tier in TIERS}


def golden(name: str) -> tuple[dict[str, Any], Path]:
    folder = MANIFESTS[name].folder
    return json.loads((folder / "golden.json").read_text()), folder


def predict(client: httpx.Client, name: str, **request: Any) -> dict[str, Any]:
    reply = client.post(f"/v1/models/{name}/predict", **request)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def test_every_committed_model_has_an_accuracy_and_golden_answers() -> None:
    assert {"breast-cancer", "board-defects"} == {manifest.family for manifest in MANIFESTS.values()}
    for manifest in MANIFESTS.values():
        assert manifest.accuracy is not None, f"{manifest.name} has no [accuracy]"
        assert (manifest.folder / "golden.json").exists()


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", TABULAR)
def test_tabular_golden_answers_are_reproduced(tiers: dict[str, httpx.Client], name: str, tier: str) -> None:
    expected, _ = golden(name)
    answer = predict(tiers[tier], name, json={"rows": expected["rows"]})
    assert len(answer["predictions"]) == len(expected["predictions"]) >= 10
    for found, wanted in zip(answer["predictions"], expected["predictions"], strict=True):
        assert found["label"] == wanted["label"]
        assert found["probabilities"] == pytest.approx(
            wanted["probabilities"], abs=expected["tolerance"]["probability"]
        )


@pytest.mark.parametrize("name", TABULAR)
def test_tabular_answers_are_the_same_on_every_tier(tiers: dict[str, httpx.Client], name: str) -> None:
    rows = golden(name)[0]["rows"]
    answers = [predict(tiers[tier], name, json={"rows": rows})["predictions"] for tier in TIERS]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("tier", SERVED_BY["detection"])
@pytest.mark.parametrize("name", DETECTORS)
def test_golden_detections_are_reproduced(tiers: dict[str, httpx.Client], name: str, tier: str) -> None:
    expected, folder = golden(name)
    body = (folder / expected["image"]).read_bytes()
    answer = predict(tiers[tier], name, content=body, params={"scale": expected["scale"]})
    found, wanted = answer["detections"], expected["detections"]
    assert len(found) == len(wanted) >= 3
    for one in wanted:
        nearest = min(found, key=lambda d: sum(abs(a - b) for a, b in zip(d["box"], one["box"], strict=True)))
        assert nearest["label"] == one["label"]
        assert nearest["score"] == pytest.approx(one["score"], abs=expected["tolerance"]["score"])
        assert nearest["box"] == pytest.approx(one["box"], abs=expected["tolerance"]["box_px"])


@pytest.mark.parametrize("name", DETECTORS)
def test_detections_are_the_same_on_both_image_tiers(tiers: dict[str, httpx.Client], name: str) -> None:
    expected, folder = golden(name)
    body = (folder / expected["image"]).read_bytes()
    container, gpu = (predict(tiers[tier], name, content=body) for tier in SERVED_BY["detection"])
    for answer in (container, gpu):
        del answer["timings_ms"], answer["hosting"]
    assert container == gpu


@pytest.mark.parametrize("name", DETECTORS)
def test_the_function_says_that_it_does_not_serve_pictures(tiers: dict[str, httpx.Client], name: str) -> None:
    reply = tiers["function"].post(f"/v1/models/{name}/predict", content=b"a picture")
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "model_not_found"


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/models/nothing/predict", b"{}", 404, "model_not_found"),
        ("/v1/models/breast-cancer/predict", b"no json", 422, "invalid_request"),
        ("/v1/models/breast-cancer/predict", b'{"rows": [{"mean_radius": 1}]}', 422, "invalid_request"),
        ("/v1/models/breast-cancer/predict?scale=half", b'{"rows": []}', 422, "invalid_request"),
    ],
)
def test_faults_have_one_shape_on_every_tier(
    tiers: dict[str, httpx.Client], tier: str, path: str, body: bytes, status: int, code: str
) -> None:
    reply = tiers[tier].post(path, content=body)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["detail"].endswith(".")


@pytest.mark.parametrize("tier", TIERS)
def test_the_models_are_listed_with_their_accuracy(tiers: dict[str, httpx.Client], tier: str) -> None:
    listed = {model["name"]: model for model in tiers[tier].get("/v1/models").json()["models"]}
    served = {name for name, manifest in MANIFESTS.items() if tier in SERVED_BY[manifest.task]}
    assert set(listed) == served
    for name in served:
        accuracy = MANIFESTS[name].accuracy
        assert accuracy is not None
        assert listed[name]["accuracy"]["value"] == accuracy.value
        assert tiers[tier].get(f"/v1/models/{name}").json() == listed[name]


@pytest.mark.parametrize(("tier", "hosting"), [("function", "cpu"), ("container", "cpu"), ("gpu", "cpu-stand-in")])
def test_a_tier_says_what_it_runs_on(tiers: dict[str, httpx.Client], tier: str, hosting: str) -> None:
    ready = tiers[tier].get("/v2/health/ready")
    if tier == "gpu" and ready.headers["inference-hosting"] == "cuda":
        pytest.skip("this machine has CUDA")
    assert ready.headers["inference-hosting"] == hosting
    assert tiers[tier].get("/v2").json()["hosting"] == hosting
    reply = predict(tiers[tier], "breast-cancer", json={"rows": golden(TABULAR[0])[0]["rows"][:1]})
    assert reply["hosting"] == hosting
