"""The routes around predict: models, health, metrics, the description, the page."""

import logging
import re
import time
import tomllib

import httpx
import inference_http
import pytest
from inference_core.errors import ManifestError
from inference_http.metrics import BOUNDS_S, Histogram

from tests.conftest import PROJECT
from tests.models import squares_picture
from tests.shared.inference_http.conftest import ClientOf, ServiceOf

PICTURE = squares_picture(64, 64, [(0, 0)])


def test_models_are_listed_and_described_by_name_and_family(client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()["models"]
    assert [model["name"] for model in listed] == ["sizes-linear", "squares-n"]
    assert client.get("/v1/models/squares-n").json() == listed[1]
    assert client.get("/v1/models/sizes").json() == listed[0]


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_health_is_a_status_without_a_body_and_says_what_computes(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    assert (reply.status_code, reply.content) == (200, b"")
    assert reply.headers["inference-hosting"] == "cpu"


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_says_on_what_it_stands(client_of: ClientOf, path: str) -> None:
    body = client_of(slots=2, threads=3).get(path).json()
    assert body["extensions"] == ["binary_tensor_data", "model_configuration", "statistics"]
    assert (body["hosting"], body["threads"], body["slots"]) == ("cpu", 3, 2)
    assert body["cores"] >= 1


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert inference_http.__version__ == project["version"]


def test_metrics_count_requests_by_model_and_status_and_time_every_stage(client: httpx.Client) -> None:
    for content in (PICTURE, PICTURE, b"no picture"):
        client.post("/v1/models/squares/predict", content=content)
    client.post("/v1/models/../../etc/predict", content=b"")
    client.post("/v1/models/unheard-of/predict", content=b"")
    text = client.get("/metrics").text
    assert 'inference_requests_total{model="squares-n",status="200"} 2.0' in text
    assert 'inference_requests_total{model="squares-n",status="415"} 1.0' in text
    assert 'inference_requests_total{model="",status="404"} 1.0' in text
    assert "unheard-of" not in text
    for stage in ("queue", "decode", "infer", "postprocess"):
        assert f'inference_stage_seconds_count{{model="squares-n",stage="{stage}"}} 2.0' in text
    for name in ("in_flight", "waiting", "threads", "refused_total"):
        assert re.search(rf"^inference_{name} [\d.]+$", text, re.MULTILINE)


def test_two_applications_count_apart(client_of: ClientOf) -> None:
    one, other = client_of(), client_of()
    one.post("/v1/models/squares-n/predict", content=PICTURE)
    assert 'status="200"' in one.get("/metrics").text
    assert 'status="200"' not in other.get("/metrics").text


def test_a_histogram_counts_a_bound_below_itself_and_everything_in_the_last_bucket() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS_S[0], BOUNDS_S[-1] + 1):
        histogram.observe(seconds)
    buckets = dict(histogram.buckets())
    assert buckets[f"{BOUNDS_S[0]:g}"] == 2
    assert buckets[f"{BOUNDS_S[-1]:g}"] == 2
    assert buckets["+Inf"] == 3


def test_each_request_has_one_line_in_the_access_log(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "inference.access")
    client.post("/v1/models/squares-n/predict", content=PICTURE, headers={"x-request-id": "mine-1"})
    client.get("/v1/%0Aforged%20line")
    deadline = time.monotonic() + 10
    while len(lines := [r.getMessage() for r in caplog.records if r.name == "inference.access"]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert re.fullmatch(
        r"POST /v1/models/squares-n/predict 200 [\d.]+ms id=mine-1 client=127\.0\.0\.1 queue=.* infer=.*", lines[0]
    )
    assert "GET /v1/%0Aforged%20line 404 " in lines[1]
    assert len(lines) == 2


def test_the_description_covers_predict_and_every_reference_in_it_resolves(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/v1/models/{name}/predict"]["post"]
    assert {"200", "404", "413", "415", "422", "503"} <= operation["responses"].keys()
    assert {"application/json", "image/jpeg", "multipart/form-data"} <= operation["requestBody"]["content"].keys()
    schemas = document["components"]["schemas"]
    references = set(re.findall(r"#/components/schemas/(\w+)", client.get("/openapi.json").text))
    assert references == schemas.keys() & references
    assert client.get("/docs").status_code == 200


def test_the_description_tells_the_truth_about_replies(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    rows = {"rows": [{"length": 1, "width": 1, "weight": 1}]}
    replies = {
        "DetectionReply": client.post("/v1/models/squares-n/predict", content=PICTURE).json(),
        "TabularReply": client.post("/v1/models/sizes-linear/predict", json=rows).json(),
        "Problem": client.post("/v1/models/none/predict").json(),
    }
    for name, reply in replies.items():
        assert set(schemas[name]["required"]) == reply.keys() == schemas[name]["properties"].keys() - {"choice"}
    chosen = client.post("/v1/models/squares/predict?deadline_ms=60000", content=PICTURE).json()
    assert chosen.keys() == schemas["DetectionReply"]["properties"].keys()
    assert chosen["choice"].keys() == schemas["Choice"]["properties"].keys() == set(schemas["Choice"]["required"])


def test_the_page_needs_nothing_from_elsewhere(client: httpx.Client) -> None:
    reply = client.get("/")
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert not re.search(r"https?://|//cdn|@import|<link[^>]+stylesheet", reply.text)


def test_slots_share_the_cores_and_each_gets_at_least_one(service_of: ServiceOf) -> None:
    one = service_of()
    assert one.threads == one.cores
    assert service_of(slots=1000).threads == 1


def test_a_manifest_that_names_no_tensor_of_the_graph_stops_the_start(service_of: ServiceOf) -> None:
    folder = service_of().registry.find("squares-n").manifest.folder
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace('name = "output0"', 'name = "boxes"'))
    with pytest.raises(ManifestError, match=r"no output 'boxes'; it has output0"):
        service_of()


def test_a_graph_that_does_not_take_the_tiles_stops_the_start(service_of: ServiceOf) -> None:
    folder = service_of().registry.find("squares-n").manifest.folder
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace("tile_px = 64", "tile_px = 96"))
    with pytest.raises(ManifestError, match=r"squares-n: the first run failed"):
        service_of()
