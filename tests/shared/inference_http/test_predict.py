"""What a caller sends and gets back, over a real socket."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from inference_core.registry import Pipeline, Registry
from inference_core.results import Prediction
from inference_http.app import create_app
from PIL import Image

from tests.models import encoded, squares_picture
from tests.shared.inference_http.conftest import ClientOf, ServiceOf

ROWS = {"rows": [{"length": 2.0, "width": 2.0, "weight": 2.0}, {"length": 0, "width": 0, "weight": 0}]}
PICTURE = squares_picture(64, 48, [(16, 16), (48, 32)])
BOXES = [[16.0, 16.0, 32.0, 32.0], [48.0, 32.0, 64.0, 48.0]]


def boxes(reply: httpx.Response) -> list[list[float]]:
    assert reply.status_code == 200, reply.text
    return sorted(found["box"] for found in reply.json()["detections"])


def test_rows_are_answered_with_a_label_and_its_probabilities(client: httpx.Client) -> None:
    reply = client.post("/v1/models/sizes-linear/predict", json=ROWS)
    assert reply.status_code == 200
    assert [row["label"] for row in reply.json()["predictions"]] == ["large", "small"]
    assert reply.json()["predictions"][0]["probabilities"]["large"] > 0.99
    assert reply.json()["hosting"] == "cpu"


def test_a_picture_is_answered_with_boxes_in_its_own_pixels(client: httpx.Client) -> None:
    reply = client.post("/v1/models/squares-n/predict", content=PICTURE)
    assert boxes(reply) == BOXES
    assert reply.json()["image"] == {"width": 64, "height": 48}
    assert reply.json()["scale"] == 1.0


def test_a_family_name_is_answered_by_its_model(client: httpx.Client) -> None:
    assert client.post("/v1/models/squares/predict", content=PICTURE).json()["model"] == "squares-n"


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain", "image/jpeg"])
def test_the_content_type_changes_nothing(client: httpx.Client, kind: str) -> None:
    headers = {"content-type": kind}
    assert boxes(client.post("/v1/models/squares-n/predict", content=PICTURE, headers=headers)) == BOXES
    rows = json.dumps(ROWS)
    assert client.post("/v1/models/sizes-linear/predict", content=rows, headers=headers).status_code == 200


def test_a_form_with_one_file_is_the_file(client: httpx.Client) -> None:
    sent = {"file": ("picture.png", PICTURE, "image/png")}
    assert boxes(client.post("/v1/models/squares-n/predict", files=sent, data={"note": "x"})) == BOXES


def test_a_file_larger_than_a_spool_travels_in_a_form_whole(client: httpx.Client) -> None:
    sent = squares_picture(1200, 1000, [(16, 16)], "BMP")
    assert len(sent) > 1 << 20
    raw = boxes(client.post("/v1/models/squares-n/predict", content=sent))
    assert raw
    assert boxes(client.post("/v1/models/squares-n/predict", files={"file": ("n.bmp", sent)})) == raw


def test_scale_makes_the_picture_smaller_and_the_boxes_stay_in_its_pixels(client: httpx.Client) -> None:
    picture = Image.new("L", (128, 128))
    picture.paste(255, (32, 64, 64, 96))
    reply = client.post("/v1/models/squares-n/predict?scale=0.5", content=encoded(picture))
    assert boxes(reply) == [[32.0, 64.0, 64.0, 96.0]]
    assert reply.json()["scale"] == 0.5


def test_every_step_stands_in_the_reply_and_in_the_server_timing_header(client: httpx.Client) -> None:
    reply = client.post("/v1/models/squares-n/predict", content=PICTURE)
    stages = list(reply.json()["timings_ms"])
    assert stages[0] == "queue"
    assert {"decode", "infer", "postprocess"} <= set(stages)
    assert [entry.split(";")[0] for entry in reply.headers["server-timing"].split(", ")] == stages


def test_a_body_in_many_pieces_is_one_body(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for first in range(0, len(PICTURE), 7):
            yield PICTURE[first : first + 7]

    assert boxes(client.post("/v1/models/squares-n/predict", content=pieces())) == BOXES


def test_rows_too_many_for_the_event_loop_get_the_same_answer_from_a_slot(client: httpx.Client) -> None:
    many = {"rows": ROWS["rows"] * 1500}
    # First the few: on a busy machine the many may take so long that the model no longer counts as quick.
    few = client.post("/v1/models/sizes-linear/predict", json=ROWS)
    reply = client.post("/v1/models/sizes-linear/predict", json=many)
    assert "queue" in reply.json()["timings_ms"]
    assert "queue" not in few.json()["timings_ms"]
    assert reply.json()["predictions"] == few.json()["predictions"] * 1500


class Held:
    """A pipeline whose work goes on until it is let go."""

    def __init__(self, inner: Pipeline) -> None:
        self.manifest, self.session = inner.manifest, inner.session
        self.begun, self.go = threading.Event(), threading.Event()

    def predict(self, body: bytes, *, scale: float = 1.0, **_: object) -> Prediction:
        self.begun.set()
        assert self.go.wait(20)
        return Prediction({"size": len(body), "scale": scale})


def test_rows_are_answered_while_a_picture_holds_the_only_slot(service_of: ServiceOf, client_of: ClientOf) -> None:
    service = service_of(slots=1, queue_max=0)
    held = Held(service.registry.find("squares-n"))
    service = replace(service, registry=Registry([held, service.registry.find("sizes-linear")]))
    client = client_of(create_app(service))
    with ThreadPoolExecutor(1) as pool:
        picture = pool.submit(client.post, "/v1/models/squares-n/predict", content=PICTURE)
        assert held.begun.wait(20)
        assert client.post("/v1/models/sizes-linear/predict", json=ROWS).status_code == 200
        assert client.post("/v1/models/squares-n/predict", content=PICTURE).status_code == 503
        held.go.set()
        assert picture.result().json()["size"] == len(PICTURE)
