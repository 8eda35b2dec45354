"""SAHI and we are asked the same. Skipped without SAHI; `make compare-sahi` installs it and runs this."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sahi")

from inference_core.detection import DetectionPipeline
from inference_core.manifest import read_manifest
from inference_core.session import Session
from training.compare_sahi import OURS, Slicing, Trial, compare, methods, table
from training.evaluate import Sample, make_samples
from training.scoring import Score

from tests.models import detection_model, squares_picture

# On the detector's grid of 16 px and on that of the tiles, which start every 48 px.
PLACES = [(0, 0), (48, 48), (96, 0), (144, 96), (80, 64)]


@pytest.fixture
def pipeline(tmp_path: Path) -> DetectionPipeline:
    manifest = read_manifest(detection_model(tmp_path))
    return DetectionPipeline(manifest, Session(manifest.model_bytes, threads=1), pixels_max=1 << 20)


def test_every_way_finds_each_object_once(pipeline: DetectionPipeline) -> None:
    ways, network = methods(pipeline)
    wanted = sorted((x, y, x + 16, y + 16) for x, y in PLACES)
    assert list(ways) == [OURS, "SAHI GREEDYNMM, IOS", "SAHI NMS, IOU", "SAHI, its defaults"]
    for name in list(ways)[:3]:
        before_ms = network.spent_ms
        found = ways[name](squares_picture(160, 112, PLACES))
        assert sorted(tuple(one["box"]) for one in found) == wanted, name
        assert {one["label"] for one in found} == {"square"}
        assert network.spent_ms > before_ms


def test_what_is_none_is_left_to_sahi() -> None:
    assert Slicing("defaults").options() == {}
    assert Slicing("ours", "NMS", "IOU", 0.15, 4).options()["force_postprocess_type"] is True


def test_each_way_is_timed_on_each_sample_and_the_network_apart(pipeline: DetectionPipeline) -> None:
    board = make_samples(1, 640, 480)[0].board
    samples = [Sample(squares_picture(160, 112, PLACES[:count]), board) for count in (1, 3)]
    trials = compare(*methods(pipeline), samples, repeats=2)
    for trial in trials.values():
        assert [len(found) for found in trial.found] == [1, 3]
        assert len(trial.spent_ms) == 4
        assert all(0 < outside < spent for outside, spent in zip(trial.outside_ms, trial.spent_ms, strict=True))


def test_a_ratio_is_that_of_the_same_picture() -> None:
    result = Score(0.9, 0.6, 0.8, 0.7, 0.75)
    trials = {OURS: Trial([], [10, 100, 1000], [1, 1, 1]), "other": Trial([], [20, 150, 1500], [3, 3, 3])}
    line = table({OURS: result, "other": result}, trials).splitlines()[-1].split()
    assert [float(value) for value in line[-4:]] == [150, np.median([2, 1.5, 1.5]), 3, 3]
