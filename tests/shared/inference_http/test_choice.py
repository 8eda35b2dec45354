"""A family answers as well as its deadline allows, or says what it cannot do."""

import gzip
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from inference_http.app import create_app
from inference_http.forecast import Kind

from tests.models import squares_picture
from tests.shared.inference_http.conftest import ClientOf, ServiceOf
from tests.shared.inference_http.family import (
    ACCURACIES,
    FAMILY,
    PICTURE,
    TILE_S,
    M,
    N,
    chosen,
    refusal,
    write_families,
)
from tests.shared.inference_http.test_overload import figure


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return write_families(tmp_path / "models")


@pytest.fixture
def client(client_of: ClientOf, service_of: ServiceOf) -> httpx.Client:
    return client_of(create_app(replace(service_of(), tile_s=TILE_S)))


def test_without_a_deadline_the_most_accurate_answers_and_nothing_is_chosen(client: httpx.Client) -> None:
    for query, scale in (("", 1.0), ("?scale=0.5", 0.5)):
        reply = client.post(FAMILY + query, content=PICTURE).json()
        assert (reply["model"], reply["scale"]) == (M, scale)
        assert "choice" not in reply


@pytest.mark.parametrize(
    ("deadline_s", "kind"),
    [(999_999, (M, 1.0)), (90_000, (M, 0.5)), (5000, (N, 1.0)), (250, (N, 0.5)), (25, (N, 0.25))],
)
def test_the_most_accurate_that_ends_in_time_answers(client: httpx.Client, deadline_s: float, kind: Kind) -> None:
    reply = client.post(f"{FAMILY}?deadline_ms={deadline_s * 1e3}", content=PICTURE)
    assert chosen(reply) == kind
    choice = reply.json()["choice"]
    assert choice["expected_accuracy"] == ACCURACIES[kind[0]][kind[1]]
    # Both count from the arrival; what was foretold was made up, what came was real.
    assert choice["predicted_ms"] >= TILE_S[kind] * 1e3
    assert 0 < choice["actual_ms"] < deadline_s * 1e3
    assert choice["actual_ms"] >= sum(reply.json()["timings_ms"].values()) * 0.5
    assert len(reply.json()["detections"]) == 1 or kind[1] < 1


def test_a_scale_that_is_given_is_kept(client: httpx.Client) -> None:
    assert chosen(client.post(f"{FAMILY}?deadline_ms=90000000&scale=0.25", content=PICTURE)) == (N, 0.25)
    # No accuracy is known there: the order of the variants is kept.
    reply = client.post(f"{FAMILY}?deadline_ms=999999000&scale=0.75", content=PICTURE)
    assert chosen(reply) == (M, 0.75)
    assert reply.json()["choice"]["expected_accuracy"] is None
    assert refusal(client.post(f"{FAMILY}?deadline_ms=900&scale=7", content=PICTURE)) == (422, "invalid_request")


def test_the_deadline_of_the_settings_is_one_too(client_of: ClientOf, service_of: ServiceOf) -> None:
    client = client_of(create_app(replace(service_of(deadline_ms=5_000_000), tile_s=TILE_S)))
    assert chosen(client.post(FAMILY, content=PICTURE)) == (N, 1.0)


def test_larger_pictures_are_known_to_take_longer_from_their_header(client: httpx.Client) -> None:
    assert chosen(client.post(f"{FAMILY}?deadline_ms=5000000", content=PICTURE)) == (N, 1.0)
    large = squares_picture(640, 480, [(16, 16)])
    assert chosen(client.post(f"{FAMILY}?deadline_ms=5000000", content=large))[1] < 1


def test_an_accuracy_that_is_not_to_be_had_is_refused_with_the_nearest(client: httpx.Client) -> None:
    reply = client.post(f"{FAMILY}?min_accuracy=0.99", content=PICTURE)
    assert refusal(reply) == (422, "accuracy_unmet")
    assert "squares-m at scale 1 with accuracy 0.95" in reply.json()["detail"]
    assert "retry-after" not in reply.headers


def test_an_accuracy_that_is_not_to_be_had_in_time_names_the_nearest_on_either_side(client: httpx.Client) -> None:
    reply = client.post(f"{FAMILY}?min_accuracy=0.82&deadline_ms=250000", content=PICTURE)
    assert refusal(reply) == (422, "accuracy_unmet")
    assert "squares-n at scale 0.5 with accuracy 0.7" in reply.json()["detail"]
    assert "squares-m at scale 0.5 with accuracy 0.85 in 15000.0 s" in reply.json()["detail"]


def test_a_deadline_that_nothing_can_meet_is_refused_with_the_fastest(client: httpx.Client) -> None:
    reply = client.post(f"{FAMILY}?deadline_ms=20", content=PICTURE)
    assert refusal(reply) == (422, "accuracy_unmet")
    assert "An answer within 20 ms" in reply.json()["detail"]
    assert "squares-n at scale 0.25" in reply.json()["detail"]


@pytest.mark.parametrize(("query", "scale"), [("", 1.0), ("&deadline_ms=90000000", 0.5)])
def test_an_accuracy_that_can_be_had_is_kept(client: httpx.Client, query: str, scale: float) -> None:
    assert chosen(client.post(f"{FAMILY}?min_accuracy=0.82{query}", content=PICTURE)) == (M, scale)


def test_a_model_that_is_named_is_used_or_refused(client: httpx.Client) -> None:
    reply = client.post("/v1/models/squares-n/predict?min_accuracy=0.75&deadline_ms=5000", content=PICTURE)
    assert reply.status_code == 200
    assert "choice" not in reply.json()
    for query in ("min_accuracy=0.85", "min_accuracy=0.75&scale=0.5", "min_accuracy=0.1&scale=0.3"):
        reply = client.post(f"/v1/models/squares-n/predict?{query}", content=PICTURE)
        assert refusal(reply) == (422, "accuracy_unmet")


def test_rows_are_answered_by_the_most_accurate_or_refused(client: httpx.Client) -> None:
    rows = {"rows": [{"length": 1, "width": 1, "weight": 1}]}
    reply = client.post("/v1/models/sizes/predict?min_accuracy=0.9&deadline_ms=5000", json=rows)
    assert (reply.status_code, reply.json()["model"]) == (200, "sizes-linear")
    assert refusal(client.post("/v1/models/sizes/predict?min_accuracy=0.91", json=rows)) == (422, "accuracy_unmet")


@pytest.mark.parametrize("value", ["nan", "inf", "good", ""])
def test_an_accuracy_that_is_no_number_is_refused(client: httpx.Client, value: str) -> None:
    reply = client.post(f"{FAMILY}?min_accuracy={value}", content=PICTURE)
    assert refusal(reply) == (422, "invalid_request")
    assert "min_accuracy" in reply.json()["detail"]


def test_what_is_no_picture_is_refused_as_ever_also_when_compressed(client: httpx.Client) -> None:
    assert refusal(client.post(f"{FAMILY}?deadline_ms=5000", content=b"no picture")) == (415, "unsupported_media")
    packed = {"content-encoding": "gzip"}
    reply = client.post(f"{FAMILY}?deadline_ms=5000000", content=gzip.compress(PICTURE), headers=packed)
    assert chosen(reply)[0] == N
    broken = client.post(f"{FAMILY}?deadline_ms=5000", content=b"no gzip", headers=packed)
    assert refusal(broken) == (422, "invalid_request")


def test_choices_are_counted_by_model_and_scale(client: httpx.Client) -> None:
    for query in ("deadline_ms=5000000", "deadline_ms=5000000&scale=0.3", "deadline_ms=5000000&scale=0.31"):
        assert client.post(f"{FAMILY}?{query}", content=PICTURE).status_code == 200
    assert figure(client, f'inference_choices_total{{model="{N}",scale="1"}}') == 1
    # Callers may send any scale: it must not become a series of its own.
    assert figure(client, f'inference_choices_total{{model="{N}",scale="other"}}') == 2
    assert figure(client, f'inference_requests_total{{model="{N}",status="200"}}') == 3
