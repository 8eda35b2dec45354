"""A family of two detectors, and a tabular one of two. What a tile takes is made up: no test depends on the machine."""

from pathlib import Path

import httpx

from tests.models import detection_model, squares_picture, tabular_model

FAMILY = "/v1/models/squares/predict"
PICTURE = squares_picture(64, 48, [(16, 16)])
SIDES = 64, 48
"""One tile, whatever the scale."""
N, M = "squares-n", "squares-m"
ACCURACIES = {N: {1.0: 0.8, 0.5: 0.7, 0.25: 0.4}, M: {1.0: 0.95, 0.5: 0.85}}
TILE_S = {(N, 1.0): 300.0, (N, 0.5): 20.0, (N, 0.25): 10.0, (M, 1.0): 100_000.0, (M, 0.5): 10_000.0}
"""So long that whatever else takes its time on a busy machine makes no difference."""


def write_families(folder: Path) -> Path:
    """The folder of the four models."""
    for name, accuracies in ACCURACIES.items():
        detection_model(folder, name, accuracies=accuracies)
    tabular_model(folder, accuracy=0.9)
    tabular_model(folder, "sizes-worse", accuracy=0.5)
    return folder


def chosen(reply: httpx.Response) -> tuple[str, float]:
    """Model and scale of an answer that was chosen."""
    assert reply.status_code == 200, reply.text
    document = reply.json()
    assert (document["variant"], document["scale"]) == (document["choice"]["variant"], document["choice"]["scale"])
    return document["model"], document["scale"]


def refusal(reply: httpx.Response) -> tuple[int, str]:
    """Status and code."""
    return reply.status_code, reply.json()["code"]
